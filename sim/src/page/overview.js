// The whole run in a strip: how many messages when, what went wrong, and which part is in view.

class Overview {
  constructor(canvas) { this.canvas = canvas; }

  x(time, view) { return time / view.trace.end * this.canvas.clientWidth; }
  timeAt(x, view) { return x / Math.max(this.canvas.clientWidth, 1) * view.trace.end; }

  draw(view, colours) {
    const { context: c, width, height } = prepare(this.canvas), { trace } = view;
    c.fillStyle = colours.raised;
    c.fillRect(0, 0, width, height);
    for (const span of trace.spans) {
      c.fillStyle = { cut: colours.cut, paused: colours.paused, slow: colours.slow }[span.what] ?? colours.down;
      const low = span.what === "cut";
      c.globalAlpha = low ? 0.5 : 0.6;
      const rows = Math.max(trace.nodes.length, 1), row = (height - 6) / rows;
      c.fillRect(this.x(span.from, view), low ? height - 4 : 2 + span.node * row, Math.max(this.x(span.to - span.from, view), 1), low ? 4 : Math.max(row - 1, 1));
      c.globalAlpha = 1;
    }
    const counts = this.counts(view, Math.max(Math.ceil(width / 2), 1));
    const most = Math.log1p(Math.max(1, ...counts));
    c.fillStyle = colours.accent;
    c.globalAlpha = 0.55;
    counts.forEach((count, column) => {
      const high = Math.log1p(count) / most * (height - 8);
      c.fillRect(column * 2, height - 4 - high, 1.6, high);
    });
    c.globalAlpha = 1;
    for (const line of trace.story) {
      if (line.kind === "work") continue;
      c.fillStyle = line.kind === "part" ? colours.good : colours.cut;
      c.fillRect(this.x(line.at, view), 0, 1.5, 6);
    }
    c.fillStyle = colours.bad;
    for (const broken of trace.violations) c.fillRect(this.x(broken.at, view) - 1, 0, 2.5, height);
    const left = this.x(view.from, view), right = Math.max(this.x(view.to, view), left + 3);
    c.fillStyle = colours.text;
    c.globalAlpha = 0.12;
    c.fillRect(0, 0, left, height);
    c.fillRect(right, 0, width - right, height);
    c.globalAlpha = 1;
    c.strokeStyle = colours.accent;
    c.strokeRect(left + 0.5, 0.5, right - left - 1, height - 1);
    c.fillStyle = colours.cursor;
    c.fillRect(this.x(view.moment, view) - 0.75, 0, 1.5, height);
  }

  /** Messages sent in each column; counted again only when what is shown or the width has changed. */
  counts(view, columns) {
    if (this.countedFor === view.shown && this.counted.length === columns) return this.counted;
    const counted = new Array(columns).fill(0), { messages, end } = view.trace;
    for (let i = 0; i < messages.count; i++) {
      if (view.shown[i]) counted[Math.min(Math.floor(messages.begins[i] / end * columns), columns - 1)] += 1;
    }
    Object.assign(this, { counted, countedFor: view.shown });
    return counted;
  }
}
