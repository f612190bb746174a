// The state of the page, its controls and keys, and the fragment (#t=…&node=…) that says the same.

const $ = (id) => document.getElementById(id);
/** Kinds of events that always have a mark in their lane. */
const MARKS = new Set(["boot", "crash", "pause", "resume", "clock"]);

const view = {
  trace: null, from: 0, to: 1, moment: 0, event: -1, node: -1, message: -1, tab: "node",
  hidden: new Set(), session: "", member: -1, text: "", shown: new Uint8Array(0), marks: [],
  isMark: (kind) => MARKS.has(kind),

  /** Sets the moment; to one event of several at the same time, if that is given. */
  go(time, event) {
    const { trace } = this;
    this.moment = Math.max(0, Math.min(time, trace.end));
    this.event = event ?? trace.eventAt(this.moment);
    if (this.moment < this.from || this.moment > this.to) {
      const wide = this.to - this.from;
      this.look(this.moment - wide / 2, this.moment + wide / 2);
    }
    paint();
  },

  goToEvent(event) {
    const { events } = this.trace, to = Math.max(0, Math.min(event, events.count - 1));
    if (events.count) this.go(events.at[to], to);
  },

  /** Sets what is in view. */
  look(from, to) {
    const { end } = this.trace, wide = Math.max(1000, Math.min(to - from, end));
    this.from = Math.max(0, Math.min(from, end - wide));
    this.to = this.from + wide;
    paint();
  },

  zoom(factor, around = this.moment >= this.from && this.moment <= this.to ? this.moment : (this.from + this.to) / 2) {
    this.look(around - (around - this.from) * factor, around + (this.to - around) * factor);
  },

  selectNode(node) {
    this.node = node;
    if (node >= 0 && this.tab !== "events") this.tab = "node";
    paint();
  },

  setFilter(change) {
    Object.assign(this, change);
    const { trace } = this, { messages } = trace, text = this.text.toLowerCase();
    const kinds = messages.kinds.map((kind) => !this.hidden.has(kind));
    const sessions = new Set(), texts = new Map();
    if (this.session) trace.strings.forEach((id, number) => id.includes(this.session) && sessions.add(number));
    const shown = new Uint8Array(messages.count);
    for (let i = 0; i < messages.count; i++) {
      if (!kinds[messages.kind[i]]) continue;
      if (this.session && !sessions.has(messages.session[i])) continue;
      if (this.member >= 0 && messages.from[i] !== this.member && messages.to[i] !== this.member) continue;
      if (text) {
        const number = messages.text[i];
        if (!texts.has(number)) texts.set(number, trace.strings[number].toLowerCase().includes(text));
        if (!texts.get(number)) continue;
      }
      shown[i] = 1;
    }
    this.shown = shown;
    showFilters();
    paint();
  },

  failure() {
    const [broken] = this.trace.violations;
    if (!broken) return;
    if (broken.node >= 0) this.node = broken.node;
    this.tab = "run";
    this.look(broken.at - 1.5e9, broken.at + 0.5e9);
    this.go(broken.at, broken.event);
  },
};

const timeline = new Timeline($("timeline")), overview = new Overview($("overview")), list = new EventList();

// Painting: at most once a frame.

let painting = false, colours = null, playing = null;
const readColours = () => {
  const style = getComputedStyle(document.documentElement);
  colours = {};
  for (const name of ["ground", "raised", "line", "text", "faint", "accent", "lane", "selected", "down", "paused", "cut", "slow", "bad", "good", "cursor", "work"]) {
    colours[name] = style.getPropertyValue(`--${name}`).trim();
  }
};

const paint = () => {
  if (painting) return;
  painting = true;
  requestAnimationFrame(() => { painting = false; if (view.trace) paintNow(); });
};

const paintNow = () => {
  timeline.draw(view, colours);
  overview.draw(view, colours);
  paintPanel();
  $("slider").value = Math.round(view.moment / view.trace.end * 1e6);
  if (document.activeElement !== $("time")) $("time").value = seconds(view.moment, 9).replace(/0{1,6}$/, "");
  rememberSoon();
};

const paintPanel = () => {
  for (const tab of $("tabs").children) tab.setAttribute("aria-selected", tab.dataset.tab === view.tab);
  $("message").hidden = view.message < 0;
  if (view.message >= 0) $("message").replaceChildren(...messagePanel(view).filter(Boolean));
  const body = $("body");
  if (view.tab === "events") {
    if (body.firstChild !== list.element) body.replaceChildren(list.element);
    list.show(view);
    return;
  }
  // A panel that the reader is typing or selecting in would be lost: none of them has fields, and scrolling is kept.
  const top = body.scrollTop, same = body.dataset.tab === view.tab;
  const content = view.tab === "node" ? nodePanel(view) : view.tab === "cluster" ? clusterPanel(view) : runPanel(view);
  body.replaceChildren(...content.flat().filter((child) => child !== null));
  body.dataset.tab = view.tab;
  body.scrollTop = same ? top : 0;
};

// The fragment.

let remembering = 0;
const rememberSoon = () => {
  clearTimeout(remembering);
  remembering = setTimeout(() => {
    const words = new URLSearchParams({ t: seconds(view.moment, 9), from: seconds(view.from, 9), to: seconds(view.to, 9), tab: view.tab });
    if (view.node >= 0) words.set("node", view.node);
    if (view.session) words.set("session", view.session);
    if (view.member >= 0) words.set("member", view.member);
    if (view.text) words.set("text", view.text);
    for (const [name, value] of Object.entries(simulator.shown ?? {})) if (value) words.set(name, value);
    if (view.hidden.size) words.set("hide", [...view.hidden].join(","));
    // A page of a file may not always say where it is.
    try { history.replaceState(null, "", `#${words}`); } catch { /* then it does not. */ }
  }, 300);
};

const recall = () => {
  const words = new URLSearchParams(location.hash.slice(1)), { trace } = view;
  const time = (name) => (words.has(name) && Number.isFinite(Number(words.get(name))) ? Math.round(Number(words.get(name)) * 1e9) : null);
  const node = (name) => {
    const number = trace.nodes.findIndex((known, place) => known.name === words.get(name) || String(place) === words.get(name));
    return words.has(name) ? number : -1;
  };
  if (words.has("hide")) view.hidden = new Set(words.get("hide").split(",").filter(Boolean));
  view.setFilter({ session: words.get("session") ?? "", member: node("member"), text: words.get("text") ?? "" });
  if (words.has("node")) view.node = node("node");
  if (["node", "cluster", "events", "run"].includes(words.get("tab"))) view.tab = words.get("tab");
  else if (words.has("node")) view.tab = "node";
  if (time("from") !== null && time("to") !== null) view.look(time("from"), time("to"));
  if (time("t") !== null) view.go(time("t"));
  return words.has("t");
};

// Controls.

const showFilters = () => {
  const { messages } = view.trace, counts = new Array(messages.kinds.length).fill(0);
  for (const kind of messages.kind) counts[kind] += 1;
  $("kinds").replaceChildren(...messages.kinds.map((kind, number) => make("button", {
    type: "button", "aria-pressed": !view.hidden.has(kind), title: "Click: show or hide. Double click: only these.",
    onclick: () => { if (!view.hidden.delete(kind)) view.hidden.add(kind); view.setFilter({}); },
    ondblclick: () => { view.setFilter({ hidden: new Set(messages.kinds.filter((other) => other !== kind)) }); },
  }, make("i", { style: `background:${kindColour(kind, number)}` }), kind, make("span", {}, counts[number]))));
  if (document.activeElement !== $("session")) $("session").value = view.session;
  if (document.activeElement !== $("text")) $("text").value = view.text;
  $("member").value = view.member < 0 ? "" : view.member;
};

const stop = () => { cancelAnimationFrame(playing); playing = null; $("play").textContent = "▶"; };
const play = () => {
  if (playing !== null) return stop();
  $("play").textContent = "⏸";
  if (view.moment >= view.trace.end) view.go(0);
  let last = performance.now();
  const tick = (now) => {
    const time = view.moment + (now - last) * 1e6 * Number($("speed").value), wide = view.to - view.from;
    last = now;
    if (time > view.from + wide * 0.85 && view.to < view.trace.end) view.look(time - wide * 0.85, time + wide * 0.15);
    view.go(time);
    if (time >= view.trace.end) stop(); else playing = requestAnimationFrame(tick);
  };
  playing = requestAnimationFrame(tick);
};

const stepNode = (by) => {
  const { events } = view.trace;
  for (let i = view.event + by; i >= 0 && i < events.count; i += by) if (view.node < 0 || events.node[i] === view.node) return view.goToEvent(i);
};

const nextFault = (by) => {
  const { faults } = view.trace;
  const to = by > 0 ? faults.find((at) => at > view.moment) : faults.findLast((at) => at < view.moment);
  if (to !== undefined) view.go(to);
};

const theme = () => {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  readColours();
  paint();
};

const fit = () => view.look(0, view.trace.end);

const keys = {
  " ": play, "f": fit, "x": () => view.failure(), "n": () => nextFault(1), "p": () => nextFault(-1), "d": theme,
  "+": () => view.zoom(0.6), "=": () => view.zoom(0.6), "-": () => view.zoom(1 / 0.6), "Home": () => view.go(0), "End": () => view.go(view.trace.end),
  "c": () => { view.tab = "cluster"; paint(); }, "e": () => { view.tab = "events"; paint(); }, "r": () => { view.tab = "run"; paint(); },
  "s": () => $("session").focus(), "m": () => $("member").focus(), "/": () => $("text").focus(), "?": () => $("help").showModal(),
  "ArrowUp": () => view.selectNode(Math.max(view.node - 1, 0)), "ArrowDown": () => view.selectNode(Math.min(view.node + 1, view.trace.nodes.length - 1)),
  "Escape": () => { view.node = view.message = -1; view.setFilter({ hidden: new Set(), session: "", member: -1, text: "" }); },
};

document.addEventListener("keydown", (e) => {
  if (!view.trace || e.ctrlKey || e.metaKey || $("help").open) return;
  const typing = e.target.matches("input:not([type=range]), select");
  if (typing) { if (e.key === "Escape") e.target.blur(); return; }
  if (e.key === " " && e.target.matches("button, summary, a")) return;
  if (e.target.id === "list" && ["Home", "End", "ArrowUp", "ArrowDown"].includes(e.key)) return;
  const by = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
  if (by) {
    const wide = view.to - view.from;
    if (e.shiftKey) view.look(view.from + by * wide * 0.2, view.to + by * wide * 0.2);
    else if (e.altKey) stepNode(by);
    else view.goToEvent(view.event + by);
  } else if (/^[1-9]$/.test(e.key)) {
    if (Number(e.key) <= view.trace.nodes.length) view.selectNode(Number(e.key) - 1);
  } else if (keys[e.key]) keys[e.key]();
  else return;
  e.preventDefault();
});

$("first").onclick = () => view.go(0);
$("back").onclick = () => view.goToEvent(view.event - 1);
$("on").onclick = () => view.goToEvent(view.event + 1);
$("play").onclick = play;
$("fit").onclick = fit;
$("zoom-in").onclick = () => view.zoom(0.6);
$("zoom-out").onclick = () => view.zoom(1 / 0.6);
$("theme").onclick = theme;
$("help-button").onclick = () => $("help").showModal();
$("to-failure").onclick = () => view.failure();
$("slider").oninput = (e) => { if (view.trace) view.go(Number(e.target.value) / 1e6 * view.trace.end); };
$("time").onchange = (e) => { const at = Number(e.target.value); if (view.trace && Number.isFinite(at)) view.go(at * 1e9); };
$("session").oninput = (e) => view.trace && view.setFilter({ session: e.target.value.trim() });
$("text").oninput = (e) => view.trace && view.setFilter({ text: e.target.value.trim() });
$("member").onchange = (e) => view.trace && view.setFilter({ member: e.target.value === "" ? -1 : Number(e.target.value) });
for (const tab of $("tabs").children) tab.onclick = () => { view.tab = tab.dataset.tab; if (view.trace) paint(); };

// The pointer on the lanes: drag moves, wheel zooms, a click selects.

const stage = $("timeline");
let drag = null;
stage.addEventListener("pointerdown", (e) => {
  if (!view.trace || e.button !== 0) return;
  drag = { x: e.offsetX, y: e.offsetY, from: view.from, to: view.to, scroll: timeline.scroll, moved: false };
  stage.setPointerCapture(e.pointerId);
});
stage.addEventListener("pointermove", (e) => {
  if (!view.trace) return;
  if (!drag) return hover(e);
  const dx = e.offsetX - drag.x, dy = e.offsetY - drag.y;
  if (!drag.moved && Math.hypot(dx, dy) < 4) return;
  drag.moved = true;
  stage.classList.add("dragging");
  timeline.scroll = drag.scroll - dy;
  const by = -dx / timeline.scale;
  view.look(drag.from + by, drag.to + by);
});
stage.addEventListener("pointerup", (e) => {
  stage.classList.remove("dragging");
  const was = drag;
  drag = null;
  if (!was || was.moved) return;
  const node = timeline.nodeAt(e.offsetY, view);
  if (e.offsetX < GUTTER) return view.selectNode(node === view.node ? -1 : node);
  const message = timeline.messageAt(e.offsetX, e.offsetY);
  view.message = message;
  if (message < 0) {
    if (node >= 0 && e.offsetY >= RULER + FAULTS) view.node = node;
    view.go(timeline.timeAt(e.offsetX, view));
  }
  paint();
});
stage.addEventListener("pointerleave", () => { $("tip").hidden = true; });
stage.addEventListener("wheel", (e) => {
  if (!view.trace) return;
  e.preventDefault();
  $("tip").hidden = true;
  if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) {
    const by = (e.deltaX || e.deltaY) / timeline.scale;
    view.look(view.from + by, view.to + by);
  } else if (e.offsetX < GUTTER) { timeline.scroll += e.deltaY; paint(); }
  else view.zoom(1.0015 ** e.deltaY, timeline.timeAt(e.offsetX, view));
}, { passive: false });

const hover = (e) => {
  const tip = $("tip"), { trace } = view, { messages } = trace, time = timeline.timeAt(e.offsetX, view);
  const i = e.offsetX >= GUTTER ? timeline.messageAt(e.offsetX, e.offsetY) : -1;
  const lines = [];
  if (i >= 0) {
    const fate = messages.received[i];
    lines.push(`${trace.nodes[messages.from[i]].name} → ${trace.nodes[messages.to[i]].name}  ${trace.string(messages.text[i])}`);
    lines.push(fate >= 0 ? `${span(messages.ends[i] - messages.begins[i])} on its way` : fate === -1 ? "lost" : "under way at the end");
  } else if (e.offsetX >= GUTTER && e.offsetY < RULER + FAULTS && e.offsetY > RULER) {
    const near = trace.story.filter((line) => Math.abs(timeline.x(line.at, view) - e.offsetX) < 4).slice(0, 6);
    for (const broken of trace.violations) if (Math.abs(timeline.x(broken.at, view) - e.offsetX) < 6) lines.push(`✗ ${broken.rule}: ${broken.what}`);
    lines.push(...near.map((line) => `${seconds(line.at)} s  ${line.text}`));
  } else {
    const node = timeline.nodeAt(e.offsetY, view);
    lines.push(...trace.spans.filter((s) => s.node === node && s.from <= time && time < s.to && e.offsetX >= GUTTER).map((s) => s.text));
    if (timeline.inView > ARROWS_MAX && e.offsetX >= GUTTER && node >= 0) lines.push(`${timeline.inView} messages in view: bars show how many arrive; zoom in for arrows`);
  }
  tip.hidden = !lines.length;
  tip.replaceChildren(...lines.map((line) => make("div", {}, line)));
  const room = stage.clientWidth - tip.offsetWidth - 8;
  tip.style.left = `${Math.max(0, Math.min(e.offsetX + 14, room))}px`;
  tip.style.top = `${e.offsetY + 16 + tip.offsetHeight > stage.clientHeight ? e.offsetY - tip.offsetHeight - 8 : e.offsetY + 16}px`;
};

const strip = $("overview");
const centre = (e) => {
  const at = overview.timeAt(e.offsetX, view), wide = view.to - view.from;
  view.look(at - wide / 2, at + wide / 2);
};
strip.addEventListener("pointerdown", (e) => { if (view.trace) { strip.setPointerCapture(e.pointerId); centre(e); } });
strip.addEventListener("pointermove", (e) => { if (view.trace && e.buttons & 1) centre(e); });

$("divider").addEventListener("pointerdown", (e) => {
  const panel = $("panel"), from = e.clientX, wide = panel.clientWidth, divider = $("divider");
  divider.setPointerCapture(e.pointerId);
  divider.onpointermove = (move) => { panel.style.width = `${Math.max(220, wide + from - move.clientX)}px`; paint(); };
  divider.onpointerup = () => { divider.onpointermove = null; };
});
new ResizeObserver(paint).observe(stage);

// A trace comes with the page, or from a simulator in it.

const load = (document_) => {
  stop();
  const trace = new Trace(document_);
  Object.assign(view, { trace, from: 0, to: trace.end, moment: 0, event: -1, node: -1, message: -1, session: "", member: -1, text: "", hidden: new Set() });
  view.marks = [];
  for (let i = 0; i < trace.events.count; i++) if (MARKS.has(trace.events.kinds[trace.events.kind[i]])) view.marks.push(i);
  const { run } = trace;
  $("empty").hidden = true;
  document.title = `seed ${run.seed} ${run.mode} ${run.verdict}`;
  $("run-name").textContent = `Seed ${run.seed}, ${run.mode}, ${trace.nodes.length} node${trace.nodes.length === 1 ? "" : "s"}`;
  $("verdict").textContent = run.verdict;
  $("verdict").className = `badge ${run.verdict}`;
  $("run-facts").textContent = `${seconds(run.virtual_ns, 1)} s, ${trace.events.count.toLocaleString()} events, ${trace.messages.count.toLocaleString()} messages, ${run.faults} faults${run.complete ? "" : ", not complete"}`;
  $("to-failure").hidden = !trace.violations.length;
  $("to-failure").textContent = trace.violations.length ? `✗ ${trace.violations[0].rule}` : "";
  $("session-ids").replaceChildren(...trace.sessionIds.slice(0, 500).map((id) => make("option", { value: id })));
  $("member").replaceChildren(make("option", { value: "" }, "all"), ...trace.nodes.map((node, number) => make("option", { value: number }, node.name)));
  view.setFilter({});
  view.go(0);
  // A group of many heartbeats alone would hide what matters: the reader can bring them back.
  if (!recall()) {
    if (trace.violations.length) view.failure();
    else { view.node = 0; view.go(trace.end / 2); }
  }
  // At once, so that the page can be read without a frame being painted.
  paintNow();
};

document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
readColours();
window.folkmoot = { load, view };
if ($("trace").textContent.trim()) load(JSON.parse($("trace").textContent));
addEventListener("hashchange", () => { if (view.trace) recall(); });
