// What a node knew at a moment, what all of them knew, and what the run was.

/** An element with attributes and children; texts are texts, never markup. */
const make = (tag, attributes, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
};

const byName = new Intl.Collator(undefined, { numeric: true }).compare;
const entries = (object) => Object.entries(object ?? {}).sort(([a], [b]) => byName(a, b));

/** Sessions that the reader has closed. */
const closedSessions = new Set();

const momentLink = (view, time) => make("a", { class: "moment", tabindex: 0, role: "button", onclick: () => view.go(time), onkeydown: (e) => e.key === "Enter" && view.go(time) }, `${seconds(time)} s`);

const factTable = (state, section, rows) => make("table", { "data-section": section }, rows.map(([name, value, path]) =>
  make("tr", { class: state.isFresh(...path) ? "fresh" : undefined, "data-path": JSON.stringify(path) },
    make("td", { class: "name" }, name), make("td", { class: "value" }, value))));

const part = (title, count, content) => [make("h3", {}, count === null ? title : `${title} (${count})`), content];

const nodePanel = (view) => {
  const { trace, node } = view;
  if (node < 0) return [make("p", { class: "faint" }, "Click a node's name on the left, or press 1 to 9, to see what it knows at this moment.")];
  const state = trace.treeAt(node, view.event), { tree } = state;
  const condition = tree.node?.state ?? "not started";
  const content = [
    make("h2", {}, `${trace.nodes[node].name} `, make("span", { class: "state", "data-state": condition }, condition)),
    make("p", { class: "faint" }, `${trace.nodes[node].address} at `, momentLink(view, view.moment), state.since >= 0
      ? [", unchanged since ", momentLink(view, trace.events.at[state.since] ?? 0)] : ""),
    factTable(state, "node", entries(tree.node).filter(([name]) => name !== "state").map(([name, value]) => [name, value, ["node", name]])),
  ];
  const links = entries(tree.links);
  if (links.length) content.push(...part("Links cut", links.length, factTable(state, "links", links.map(([name, value]) => [`to ${name}`, value, ["links", name]]))));
  const members = entries(tree.members);
  content.push(...part("Members", members.filter(([name]) => !name.endsWith("?")).length, make("table", { "data-section": "members" },
    members.map(([name, facts]) => make("tr", { class: Object.keys(facts).some((fact) => state.isFresh("members", name, fact)) ? "fresh" : undefined, "data-path": JSON.stringify(["members", name]) },
      make("td", {}, name.replace("?", "")), make("td", { class: facts.state === "suspect" ? "bad" : undefined }, facts.state), make("td", {}, facts.kind ?? ""), make("td", { class: "value", title: facts["unique id"] }, (facts["unique id"] ?? "").slice(0, 8)))))));
  if (trace.run.mode === "session" || tree.sessions) content.push(...sessionPart(view, state));
  const queues = entries(tree.queues);
  content.push(...part("Queues", null, queues.length
    ? factTable(state, "queues", queues.map(([name, value]) => [name, value, ["queues", name]]))
    : make("p", { class: "faint", "data-section": "queues" }, "all empty")));
  const timers = Object.entries(tree.timers ?? {}).map(([name, at]) => [name, Number(at)]).sort((a, b) => a[1] - b[1]);
  content.push(...part("Timers", timers.length, factTable(state, "timers", timers.map(([name, at]) => [name, at < 1 ? "now" : `in ${span(at - view.moment)}, at ${seconds(at)} s`, ["timers", name]]))));
  const counters = entries(tree.counters);
  if (counters.length) content.push(...part("Counters", null, factTable(state, "counters", counters.map(([name, value]) => [name, value, ["counters", name]]))));
  return content;
};

const sessionPart = (view, state) => {
  const all = entries(state.tree.sessions).filter(([id]) => !view.session || id.includes(view.session));
  const list = all.map(([id, { fact = {}, attribute = {} }]) => {
    const fresh = [...Object.keys(fact).map((name) => ["sessions", id, "fact", name]), ...Object.keys(attribute).map((name) => ["sessions", id, "attribute", name])].some((path) => state.isFresh(...path));
    const rows = [...entries(attribute).map(([name, value]) => [name, value, ["sessions", id, "attribute", name]])];
    const facts = entries(fact).filter(([name]) => name !== "primary").map(([name, value]) => `${name} ${name === "times out after" ? `${value} s` : value}`).join(", ");
    return make("details", {
      class: `session${fresh ? " fresh" : ""}`, open: !closedSessions.has(id), "data-session": id, "data-primary": fact.primary,
      ontoggle: (e) => { if (e.target.open) closedSessions.delete(id); else closedSessions.add(id); },
    }, make("summary", {}, `${id}${fact.primary === "true" ? " · primary" : ""}`), factTable(state, "attributes", rows), make("p", { class: "faint" }, facts));
  });
  return part(view.session ? `Sessions with “${view.session}”` : "Sessions", all.length, make("div", { "data-section": "sessions" }, list));
};

/** What each node has in each session, side by side, so that a difference shows. */
const clusterPanel = (view) => {
  const { trace } = view, trees = trace.nodes.map((_, node) => trace.treeAt(node, view.event).tree);
  const content = [make("h2", {}, "All nodes "), make("p", { class: "faint" }, "at ", momentLink(view, view.moment))];
  const rows = trace.nodes.map((node, number) => {
    const tree = trees[number], members = entries(tree.members).filter(([, facts]) => facts.state !== "not verified").map(([name]) => name);
    return make("tr", { "data-node": node.name, onclick: () => view.selectNode(number), style: "cursor:pointer" }, make("td", {}, node.name), make("td", {}, tree.node?.state ?? "not started"),
      make("td", {}, members.join(" ") || "—"), make("td", {}, tree.sessions ? Object.keys(tree.sessions).length : ""));
  });
  content.push(make("table", { "data-section": "nodes" }, make("tr", {}, ["node", "state", "sees", "sessions"].map((name) => make("th", {}, name))), rows));
  const ids = new Set(trees.flatMap((tree) => Object.keys(tree.sessions ?? {})));
  const shown = [...ids].filter((id) => !view.session || id.includes(view.session));
  if (trace.run.mode !== "session" && !shown.length) return content;
  const up = trees.map((tree) => tree.node?.state === "running");
  const sessions = shown.map((id) => compareSession(id, trees, up)).sort((a, b) => b.differences - a.differences || byName(a.id, b.id));
  const different = sessions.filter((session) => session.differences).length;
  content.push(make("h3", {}, `Sessions (${shown.length}), ${different ? `${different} of them not the same on all running nodes` : "the same on all running nodes"}`));
  for (const session of sessions) content.push(comparison(session, trace));
  return content;
};

/** The rows of one session: what each node has under each name, and how many of them differ between running nodes. */
const compareSession = (id, trees, up) => {
  const held = trees.map((tree) => tree.sessions?.[id]);
  const row = (name, texts) => ({ name, texts, odd: new Set(texts.filter((_, node) => up[node])).size > 1 });
  const names = [...new Set(held.flatMap((session) => Object.keys(session?.attribute ?? {})))].sort(byName);
  const rows = [row("held", held.map((session) => (session ? "yes" : "—"))), ...names.map((name) => row(name, held.map((session) => session?.attribute?.[name] ?? "—")))];
  const primaries = held.map((session, node) => (session?.fact?.primary === "true" ? node : -1)).filter((node) => node >= 0);
  return { id, rows, primaries, up, differences: rows.filter(({ odd }) => odd).length };
};

/** Nodes that fit side by side. */
const COMPARED = 24;
const openSessions = new Set();
const short = (text) => (text.length > 14 ? `…${text.slice(-12)}` : text);

const comparison = ({ id, rows, primaries, up, differences }, trace) => {
  const nodes = trace.nodes.slice(0, COMPARED), names = primaries.map((node) => trace.nodes[node].name).join(", ");
  const table = () => make("table", { class: "compare" }, make("tr", {}, make("th", {}, ""), nodes.map((node) => make("th", {}, node.name))),
    rows.map(({ name, texts, odd }) => make("tr", {}, make("td", { class: "name" }, name),
      nodes.map((_, node) => make("td", { class: `value${odd && up[node] ? " odd" : texts[node] === "—" ? " gap" : ""}`, title: texts[node] }, short(texts[node]))))));
  const open = differences ? !closedSessions.has(id) : openSessions.has(id);
  const toggled = ({ target }) => {
    if (target.open) { closedSessions.delete(id); openSessions.add(id); } else { closedSessions.add(id); openSessions.delete(id); }
    if (target.open && !target.querySelector("table")) target.append(table());
  };
  return make("details", { class: "session", open, "data-session": id, "data-differences": differences, ontoggle: toggled },
    make("summary", {}, `${id}${names ? ` · primary ${names}` : ""}${differences ? " · differs" : ""}`), open ? table() : null,
    trace.nodes.length > COMPARED && open ? make("p", { class: "faint" }, `the first ${COMPARED} nodes`) : null);
};

const runPanel = (view) => {
  const { run, story, violations, nodes, events, messages } = view.trace;
  const row = (name, value) => make("tr", {}, make("td", { class: "name" }, name), make("td", { class: "value" }, value));
  const content = [make("h2", {}, `Seed ${run.seed}, mode ${run.mode} `, make("span", { class: `badge ${run.verdict}` }, run.verdict))];
  for (const broken of violations) {
    content.push(make("div", { class: "broken" }, make("strong", {}, broken.rule), " at ", momentLink(view, broken.at), broken.node >= 0 ? ` on ${nodes[broken.node].name}` : "", make("p", {}, broken.what)));
  }
  content.push(make("table", { "data-section": "run" }, row("virtual time", `${seconds(run.virtual_ns, 3)} s`), row("nodes", nodes.length), row("events", events.count), row("messages", messages.count),
    row("faults", run.faults), row("works", run.works), run.converged_after_ns === null ? null : row("all was well after", span(run.converged_after_ns)), row("trace hash", run.trace_hash),
    run.version ? row("built from", run.version) : null, run.command ? row("replay", run.command) : null,
    run.complete ? null : row("complete", "no: the run was longer than a recording may be, and its end is missing")));
  if (run.plan.length) content.push(...part("Plan", null, make("table", {}, run.plan.map(([name, value]) => row(name, value)))));
  const faults = story.filter((line) => line.kind !== "work");
  content.push(...part("Faults", faults.length, make("table", { "data-section": "faults" }, faults.map((line) => make("tr", {}, make("td", { style: "width:9em" }, momentLink(view, line.at)), make("td", {}, line.text))))));
  content.push(...part("Reached", null, make("table", {}, entries(run.covered).map(([name, count]) => row(name, count)))));
  return content;
};

/** The message that is selected. */
const messagePanel = (view) => {
  const { trace, message: i } = view, { messages, events } = trace;
  const name = (node) => trace.nodes[node].name, fate = messages.received[i];
  const end = fate >= 0 ? ["received at ", momentLink(view, messages.ends[i]), `, ${span(messages.ends[i] - messages.begins[i])} later`]
    : [fate === -1 ? make("span", { class: "bad" }, "never received: lost") : "under way when the run ended"];
  const session = trace.string(messages.session[i]);
  return [
    make("p", {}, make("strong", {}, `${name(messages.from[i])} → ${name(messages.to[i])} ${messages.kinds[messages.kind[i]]}`), ` ${messages.len[i]} bytes`),
    make("p", {}, make("code", {}, trace.string(messages.text[i]))),
    make("p", { class: "faint" }, "sent at ", momentLink(view, messages.begins[i]), ", ", ...end),
    session ? make("p", {}, make("button", { type: "button", onclick: () => view.setFilter({ session }) }, "only this session")) : null,
  ];
};
