// A trace as it comes in the document, made fit for looking at any moment of it.

/** How many changes lie between two states that are kept whole. */
const KEPT_EVERY = 2048;

const sums = (steps) => {
  const all = new Float64Array(steps.length);
  let last = 0;
  for (let i = 0; i < steps.length; i++) { last += steps[i]; all[i] = last; }
  return all;
};

/** The number of items of a sorted list that are at most `limit`. */
const countUpTo = (list, limit) => {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] <= limit) low = middle + 1; else high = middle;
  }
  return low;
};

class Trace {
  constructor(document) {
    if (document.format !== "folkmoot-trace" || document.version !== 1) {
      throw new Error(`not a trace of version 1: ${document.format} ${document.version}`);
    }
    const { run, nodes, strings, paths, events, messages, changes, story, violations } = document;
    Object.assign(this, { run, nodes, strings, paths, story, violations });
    this.events = {
      count: events.node.length, kinds: events.kinds, at: sums(events.at), node: Int16Array.from(events.node),
      kind: Uint8Array.from(events.kind), peer: Int16Array.from(events.peer), conn: events.conn, len: events.len, text: events.text,
    };
    const sent = sums(messages.sent);
    this.messages = {
      count: sent.length, kinds: messages.kinds, sent, received: Float64Array.from(messages.received), from: Int16Array.from(messages.from),
      to: Int16Array.from(messages.to), kind: Uint8Array.from(messages.kind), session: messages.session, text: messages.text, len: messages.len,
    };
    this.end = Math.max(run.virtual_ns, this.events.count ? this.events.at[this.events.count - 1] : 0, 1);
    this.placeMessages();
    this.placeChanges(changes);
    this.findTimes();
  }

  /** The times of messages, and for each block of them the last receipt: for finding those in a span of time. */
  placeMessages() {
    const { count, sent, received } = this.messages, { at } = this.events;
    const begins = new Float64Array(count), ends = new Float64Array(count);
    for (let i = 0; i < count; i++) {
      begins[i] = at[sent[i]] || 0;
      // What was not delivered is seen where it left, and nowhere else.
      ends[i] = received[i] >= 0 ? at[received[i]] : begins[i];
    }
    const blocks = [];
    for (let from = 0; from < count; from += 256) {
      let last = 0;
      const to = Math.min(from + 256, count);
      for (let i = from; i < to; i++) last = Math.max(last, ends[i]);
      blocks.push({ from, to, first: begins[from], last });
    }
    Object.assign(this.messages, { begins, ends, blocks });
  }

  placeChanges(changes) {
    const event = sums(changes.event);
    this.changes = this.nodes.map(() => ({ event: [], path: [], value: [], kept: [new Map()] }));
    const states = this.nodes.map(() => new Map());
    for (let i = 0; i < event.length; i++) {
      const node = changes.node[i], own = this.changes[node], state = states[node];
      own.event.push(event[i]);
      own.path.push(changes.path[i]);
      own.value.push(changes.value[i]);
      if (changes.value[i] < 0) state.delete(changes.path[i]); else state.set(changes.path[i], changes.value[i]);
      if (own.event.length % KEPT_EVERY === 0) own.kept.push(new Map(state));
    }
    const ids = new Set();
    for (const path of this.paths) if (path[0] === "sessions") ids.add(path[1]);
    for (const session of this.messages.session) if (session >= 0) ids.add(this.strings[session]);
    this.sessionIds = [...ids].sort();
  }

  /** The spans of time in which something was wrong with a node or its links: [node, what, from, to, text]. */
  findTimes() {
    const open = new Map(), spans = [], { at } = this.events;
    const state = this.paths.findIndex((path) => path.length === 2 && path[0] === "node" && path[1] === "state");
    const slow = this.paths.findIndex((path) => path[0] === "node" && path[1] === "slow");
    this.changes.forEach((own, node) => {
      for (let i = 0; i < own.event.length; i++) {
        const number = own.path[i], path = this.paths[number], cut = path[0] === "links";
        if (number !== state && number !== slow && !cut) continue;
        const key = `${node} ${number}`, now = at[own.event[i]] || 0, text = own.value[i] < 0 ? null : this.strings[own.value[i]];
        const before = open.get(key);
        if (before) { before.to = now; open.delete(key); }
        const wrong = text !== null && text !== "running";
        if (wrong) {
          const what = cut ? "cut" : number === slow ? "slow" : text;
          const span = { node, what, from: now, to: this.end, text: cut ? `${this.nodes[node].name} to ${path[1]}: ${text}` : `${this.nodes[node].name}: ${text}` };
          open.set(key, span);
          spans.push(span);
        }
      }
    });
    this.spans = spans;
    this.faults = this.story.filter((line) => line.kind !== "work").map((line) => line.at);
    for (const broken of this.violations) this.faults.push(broken.at);
    this.faults.sort((a, b) => a - b);
  }

  /** The last event at or before a time; -1 before the first. */
  eventAt(time) { return countUpTo(this.events.at, time) - 1; }

  /** What a node knew after an event: by path number; and the paths that the last of its changes touched. */
  stateAt(node, event) {
    const own = this.changes[node], count = countUpTo(own.event, event);
    const kept = Math.floor(count / KEPT_EVERY), known = new Map(own.kept[kept]);
    for (let i = kept * KEPT_EVERY; i < count; i++) {
      if (own.value[i] < 0) known.delete(own.path[i]); else known.set(own.path[i], own.value[i]);
    }
    const fresh = new Set();
    const last = count ? own.event[count - 1] : -1;
    for (let i = count - 1; i >= 0 && own.event[i] === last; i--) fresh.add(own.path[i]);
    return { known, fresh, since: last };
  }

  /** The same as nested objects of texts: section, then the rest of the path. */
  treeAt(node, event) {
    const { known, fresh, since } = this.stateAt(node, event);
    const tree = {}, touched = new Set();
    for (const [number, value] of known) {
      const path = this.paths[number];
      let place = tree;
      for (let i = 0; i + 1 < path.length; i++) place = place[path[i]] ??= {};
      place[path[path.length - 1]] = this.strings[value];
      if (fresh.has(number)) touched.add(path.join("\u001f"));
    }
    return { tree, since, isFresh: (...path) => touched.has(path.join("\u001f")) };
  }

  string(number) { return number < 0 ? "" : this.strings[number]; }

  /** An event in words. */
  eventText(i) {
    const { events } = this;
    let text = events.kinds[events.kind[i]];
    if (events.peer[i] >= 0) text += ` ${this.nodes[events.peer[i]]?.name}`;
    if (events.len[i]) text += ` ${events.len[i]} bytes`;
    const detail = this.string(events.text[i]);
    return detail ? `${text}: ${detail}` : text;
  }
}

/** Nanoseconds as seconds. */
const seconds = (ns, digits = 6) => (ns / 1e9).toFixed(digits);

/** A span of time with the unit that fits. */
const span = (ns) => {
  const size = Math.abs(ns);
  if (size >= 1e9) return `${(ns / 1e9).toFixed(3)} s`;
  if (size >= 1e6) return `${(ns / 1e6).toFixed(3)} ms`;
  if (size >= 1e3) return `${(ns / 1e3).toFixed(1)} µs`;
  return `${Math.round(ns)} ns`;
};
