// Everything that happened, as a list of which only the rows in sight exist.

const ROW = 20;

class EventList {
  constructor() {
    this.element = make("div", { id: "list", tabindex: 0, "aria-label": "Events" });
    this.element.addEventListener("scroll", () => this.fill());
    this.element.addEventListener("click", (e) => {
      const row = e.target.closest(".row");
      if (row) this.view.go(Number(row.dataset.at), Number(row.dataset.event));
    });
  }

  /** The events and lines of the story that pass the filters, in order. */
  choose(view) {
    const { trace } = view, { events } = trace, rows = [];
    const want = view.node, text = view.text.toLowerCase(), session = view.session;
    const fits = (line) => (!text || line.toLowerCase().includes(text)) && (!session || line.includes(session));
    const searching = text || session;
    let line = 0, broken = 0;
    const told = [...trace.story, ...trace.violations.map((v) => ({ at: v.at, event: v.event, kind: "broken", text: `✗ ${v.rule}${v.node >= 0 ? ` on ${trace.nodes[v.node].name}` : ""}: ${v.what}` }))].sort((a, b) => a.at - b.at);
    for (let i = 0; i < events.count; i++) {
      while (line < told.length && told[line].at <= events.at[i] && told[line].event < i) { if (!searching || fits(told[line].text)) rows.push(-1 - line); line += 1; }
      if (want >= 0 && events.node[i] !== want) continue;
      if (searching && !fits(trace.eventText(i))) continue;
      rows.push(i);
    }
    for (; line < told.length; line++) if (!searching || fits(told[line].text)) rows.push(-1 - line);
    Object.assign(this, { rows, told });
  }

  show(view) {
    const key = `${view.node} ${view.text} ${view.session}`;
    this.view = view;
    if (this.chosenFor !== view.trace || this.key !== key) { this.choose(view); this.chosenFor = view.trace; this.key = key; }
    this.at = this.rowOf(view.event);
    // There has to be something to scroll first.
    this.fill();
    const { scrollTop, clientHeight } = this.element, top = this.at * ROW;
    if (top < scrollTop || top > scrollTop + clientHeight - ROW) {
      this.element.scrollTop = Math.max(0, top - clientHeight / 2);
      this.fill();
    }
  }

  /** The last row at or before an event. */
  rowOf(event) {
    let low = 0, high = this.rows.length;
    const place = (row) => (row >= 0 ? row : this.told[-1 - row].event);
    while (low < high) {
      const middle = (low + high) >> 1;
      if (place(this.rows[middle]) <= event) low = middle + 1; else high = middle;
    }
    return Math.max(low - 1, 0);
  }

  fill() {
    const { view, rows, element } = this, { trace } = view;
    const first = Math.max(0, Math.floor(element.scrollTop / ROW) - 4), last = Math.min(rows.length, first + Math.ceil((element.clientHeight || 600) / ROW) + 8);
    const shown = [make("div", { style: `height:${rows.length * ROW}px` })];
    for (let at = first; at < last; at++) {
      const row = rows[at], now = at === this.at ? " now" : "";
      if (row < 0) {
        const line = this.told[-1 - row];
        shown.push(make("div", { class: `row ${line.kind}${now}`, style: `top:${at * ROW}px`, "data-at": line.at, "data-event": line.event, title: line.text }, `${seconds(line.at)} ── ${line.text}`));
      } else {
        const text = trace.eventText(row);
        shown.push(make("div", { class: `row${now}`, style: `top:${at * ROW}px`, "data-at": trace.events.at[row], "data-event": row, title: text }, `${seconds(trace.events.at[row])} ${trace.nodes[trace.events.node[row]].name} ${text}`));
      }
    }
    element.replaceChildren(...shown);
  }
}
