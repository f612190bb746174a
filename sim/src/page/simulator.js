// The simulator in the page, if it has one: each run is an instance of its own, in a worker, so that the page stays at hand.

/** Runs in the worker: the module, seed, mode and nodes come in; the document's text or the reason why there is none goes out. */
const simulatorWorker = () => {
  onmessage = async ({ data }) => {
    let exports = null;
    const outcome = () => new TextDecoder().decode(new Uint8Array(exports.memory.buffer, exports.folkmoot_outcome(), exports.folkmoot_outcome_len()));
    try {
      ({ exports } = await WebAssembly.instantiate(data.module, {}));
      exports.folkmoot_run(data.seed, data.mode, data.nodes);
      postMessage({ text: outcome() });
    } catch (error) {
      const said = exports ? outcome() : "";
      postMessage({ error: said || String(error) });
    }
  };
};

const simulator = {
  module: null, stop: null, shown: null,

  /** Runs a seed (text) in a mode (its number); resolves to the document. Without nodes the seed draws how many there are. */
  run(seed, mode, nodes) {
    this.stop?.();
    const url = URL.createObjectURL(new Blob([`(${simulatorWorker})()`], { type: "text/javascript" })), worker = new Worker(url);
    const ran = new Promise((resolve, reject) => {
      this.stop = () => reject(new Error("stopped"));
      worker.onerror = (event) => reject(new Error(event.message));
      worker.onmessage = ({ data }) => { if (data.error) reject(new Error(data.error)); else resolve(JSON.parse(data.text)); };
      this.module.then((module) => worker.postMessage({ module, seed: BigInt(seed), mode: Number(mode), nodes: Number(nodes) }), reject);
    });
    return ran.finally(() => { worker.terminate(); URL.revokeObjectURL(url); });
  },

  /** The same from the page's fields, and shows it. */
  async show() {
    const [seed, mode, nodes] = ["run-seed", "run-mode", "run-nodes"].map((id) => $(id).value), note = $("run-note");
    const began = performance.now(), took = () => `${((performance.now() - began) / 1000).toFixed(1)} s`;
    const run = this.run(seed, mode, nodes), clock = setInterval(() => { note.textContent = `running, ${took()}`; }, 100);
    $("runner").dataset.state = "running";
    $("run").textContent = "stop";
    note.textContent = "running";
    try {
      const trace = await run;
      this.shown = { seed, mode: $("run-mode").options[$("run-mode").selectedIndex].text, nodes };
      load(trace);
      $("runner").dataset.state = "done";
      note.textContent = `trace hash ${trace.run.trace_hash}, in ${took()}`;
      return trace.run.trace_hash;
    } catch (error) {
      $("runner").dataset.state = "failed";
      note.textContent = error.message;
      return null;
    } finally {
      clearInterval(clock);
      this.stop = null;
      $("run").textContent = "run";
    }
  },

  /** Makes the module of its text, and the run bar work; runs what the page's address names. */
  begin(text) {
    this.module = WebAssembly.compile(Uint8Array.from(atob(text), (digit) => digit.charCodeAt(0)));
    this.module.catch((error) => { $("run-note").textContent = error.message; });
    $("runner").hidden = $("empty").hidden = false;
    $("run").focus();
    // What the address says of the run before is not about the next.
    const anew = () => { try { history.replaceState(null, "", "#"); } catch { /* then it stays. */ } this.show(); };
    $("runner").addEventListener("submit", (event) => { event.preventDefault(); if (this.stop) this.stop(); else anew(); });
    $("run-next").addEventListener("click", () => { $("run-seed").value = BigInt($("run-seed").value || 0) + 1n; anew(); });
    const words = new URLSearchParams(location.hash.slice(1)), mode = [...$("run-mode").options].find((option) => option.text === words.get("mode"));
    if (mode) $("run-mode").value = mode.value;
    if (words.has("nodes")) $("run-nodes").value = words.get("nodes");
    if (/^[0-9]{1,20}$/.test(words.get("seed") ?? "")) { $("run-seed").value = words.get("seed"); this.show(); }
  },
};

window.folkmoot.simulator = simulator;
if ($("module").textContent.trim()) simulator.begin($("module").textContent.trim());
