// The lanes: nodes from top to bottom, time from left to right, messages between them.

/** Colours of kinds of messages that read on light and dark ground; kinds that are not named here share the last ones. */
const KIND_COLOURS = {
  "heartbeat": "#9aa3b0", "goodbye": "#e07b39", "ACK": "#5a9e6f", "FAIL_ACK": "#d9443f", "TCP check": "#9b6fc9", "ping": "#8f8a5b",
  "static member starts": "#7aa33c", "static member stops": "#c77d2e", "parcel": "#3f86d9",
  "SESSION-MODIFIED": "#2fa36b", "SESSION-DELTA": "#3f86d9", "SESSION-ACCESSED": "#2aa5b5", "SESSION-EXPIRED": "#c0556a",
  "SESSION-ID-CHANGED": "#e0953a", "SESSION-GET-ALL": "#a45fd0", "ALL-SESSION-DATA": "#d05fb5", "SESSION-STATE-TRANSFERRED": "#7c6fe0",
  "NO-CONTEXT-MANAGER": "#8a7f95",
};
const OTHER_COLOURS = ["#b0705a", "#6f94a8", "#a89a3f", "#7d8a6a"];
const kindColour = (name, number) => KIND_COLOURS[name] ?? OTHER_COLOURS[number % OTHER_COLOURS.length];

/** More arrows than this in view are shown as bars of how many arrive. */
const ARROWS_MAX = 4000;
/** How far the stub of a message goes that was not delivered. */
const STUB = 16;
const GUTTER = 92, RULER = 22, FAULTS = 30;

/** A canvas made as sharp as the screen; its size in CSS pixels. */
const prepare = (canvas) => {
  const { clientWidth: width, clientHeight: height } = canvas, ratio = window.devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) { canvas.width = wide; canvas.height = high; }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
};

class Timeline {
  constructor(canvas) {
    this.canvas = canvas;
    this.scroll = 0;
    this.drawn = [];
  }

  /** The width of the lanes, and how high each is. */
  measure(view) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const nodes = Math.max(view.trace.nodes.length, 1), room = Math.max(height - RULER - FAULTS, 1);
    this.lane = Math.max(30, Math.min(150, room / nodes));
    this.scroll = Math.max(0, Math.min(this.scroll, nodes * this.lane - room));
    this.width = Math.max(width - GUTTER, 1);
    this.scale = this.width / (view.to - view.from);
  }

  x(time, view) { return GUTTER + (time - view.from) * this.scale; }
  y(node) { return RULER + FAULTS + (node + 0.5) * this.lane - this.scroll; }
  timeAt(x, view) { return view.from + (x - GUTTER) / this.scale; }

  nodeAt(y, view) {
    if (y < RULER + FAULTS) return -1;
    const node = Math.floor((y - RULER - FAULTS + this.scroll) / this.lane);
    return node < view.trace.nodes.length ? node : -1;
  }

  draw(view, colours) {
    this.measure(view);
    const { context: c, width, height } = prepare(this.canvas), { trace } = view;
    c.font = "11px system-ui, sans-serif";
    c.textBaseline = "middle";
    this.drawLanes(c, view, colours, width);
    c.save();
    c.beginPath();
    c.rect(GUTTER, RULER + FAULTS, this.width, height);
    c.clip();
    this.drawSpans(c, view, colours, width);
    this.drawMessages(c, view, colours);
    this.drawMarks(c, view, colours);
    c.restore();
    this.drawNames(c, view, colours, height);
    this.drawFaults(c, view, colours, width);
    this.drawRuler(c, view, colours, width);
    for (const broken of trace.violations) this.drawLine(c, this.x(broken.at, view), height, colours.bad, [4, 3]);
    this.drawLine(c, this.x(view.moment, view), height, colours.cursor, []);
    this.drawMoment(c, view, colours, width);
  }

  drawLine(c, x, height, colour, dash) {
    if (x < GUTTER) return;
    c.save();
    c.strokeStyle = colour;
    c.lineWidth = 1.5;
    c.setLineDash(dash);
    c.beginPath();
    c.moveTo(x, RULER);
    c.lineTo(x, height);
    c.stroke();
    c.restore();
  }

  drawMoment(c, view, colours, width) {
    const x = this.x(view.moment, view), text = `${seconds(view.moment)} s`;
    if (x < GUTTER - 1 || x > width) return;
    const wide = c.measureText(text).width + 10, left = Math.max(GUTTER, Math.min(x - wide / 2, width - wide));
    c.fillStyle = colours.cursor;
    c.fillRect(left, 2, wide, RULER - 4);
    c.fillStyle = colours.ground;
    c.fillText(text, left + 5, RULER / 2 + 0.5);
  }

  drawLanes(c, view, colours, width) {
    for (let node = 0; node < view.trace.nodes.length; node++) {
      const y = this.y(node), top = y - this.lane / 2;
      if (top > this.canvas.clientHeight || top + this.lane < 0) continue;
      c.fillStyle = node === view.node ? colours.selected : node % 2 ? colours.ground : colours.lane;
      c.fillRect(0, top, width, this.lane);
      c.strokeStyle = colours.line;
      c.lineWidth = 1;
      c.beginPath();
      c.moveTo(GUTTER, Math.round(y) + 0.5);
      c.lineTo(width, Math.round(y) + 0.5);
      c.stroke();
    }
  }

  drawSpans(c, view, colours, width) {
    for (const { node, what, from, to } of view.trace.spans) {
      if (to < view.from || from > view.to) continue;
      const left = Math.max(GUTTER, this.x(from, view)), right = Math.min(width, Math.max(this.x(to, view), this.x(from, view) + 1));
      const top = this.y(node) - this.lane / 2;
      if (what === "cut") {
        c.fillStyle = colours.cut;
        c.globalAlpha = 0.75;
        c.fillRect(left, top + this.lane - 5, right - left, 4);
        c.globalAlpha = 1;
        continue;
      }
      c.fillStyle = what === "paused" ? colours.paused : what === "slow" ? colours.slow : colours.down;
      c.globalAlpha = what === "slow" ? 0.6 : 0.85;
      c.fillRect(left, top + 1, right - left, this.lane - 2);
      c.globalAlpha = 1;
      if (right - left > 60) {
        c.fillStyle = colours.faint;
        c.fillText(what, left + 6, top + 10);
      }
    }
  }

  drawMessages(c, view, colours) {
    const { messages } = view.trace, found = [];
    let count = 0;
    for (const block of messages.blocks) {
      if (block.first > view.to) break;
      if (block.last < view.from) continue;
      for (let i = block.from; i < block.to; i++) {
        if (!view.shown[i] || messages.begins[i] > view.to || messages.ends[i] < view.from) continue;
        count += 1;
        if (count <= ARROWS_MAX) found.push(i);
      }
    }
    this.inView = count;
    this.drawn = [];
    if (count > ARROWS_MAX) this.drawBars(c, view, colours); else this.drawArrows(c, view, colours, found);
    if (view.message >= 0) this.drawArrow(c, view, view.message, 3, colours);
  }

  /** From where to where an arrow goes on the screen. What was never delivered gets a stub: it went that way, and no further. */
  place(i, view) {
    const { messages } = view.trace;
    const x0 = this.x(messages.begins[i], view), y0 = this.y(messages.from[i]), y1 = this.y(messages.to[i]);
    if (messages.received[i] >= 0) return [x0, y0, this.x(messages.ends[i], view), y1];
    return [x0, y0, x0 + STUB / 2, y0 + Math.sign(y1 - y0) * Math.min(STUB, this.lane * 0.4)];
  }

  drawArrows(c, view, colours, found) {
    const { messages } = view.trace;
    const byKind = new Map();
    for (const i of found) {
      const kind = messages.kind[i];
      if (!byKind.has(kind)) byKind.set(kind, []);
      byKind.get(kind).push(i);
    }
    const heads = found.length < 1500;
    for (const [kind, list] of byKind) {
      const colour = kindColour(messages.kinds[kind], kind);
      c.strokeStyle = c.fillStyle = colour;
      c.lineWidth = 1.2;
      c.globalAlpha = found.length > 800 ? 0.6 : 0.9;
      c.beginPath();
      for (const i of list) {
        const place = this.place(i, view);
        c.moveTo(place[0], place[1]);
        c.lineTo(place[2], place[3]);
        this.drawn.push([i, ...place]);
      }
      c.stroke();
      if (heads) for (const i of list) this.drawHead(c, i, this.place(i, view), view, colours, colour);
      c.globalAlpha = 1;
    }
  }

  drawHead(c, i, [x0, y0, x1, y1], view, colours, colour) {
    const fate = view.trace.messages.received[i];
    if (fate < 0) {
      c.save();
      c.strokeStyle = fate === -1 ? colours.bad : colour;
      c.lineWidth = 1.4;
      c.beginPath();
      if (fate === -1) {
        c.moveTo(x1 - 3, y1 - 3); c.lineTo(x1 + 3, y1 + 3); c.moveTo(x1 - 3, y1 + 3); c.lineTo(x1 + 3, y1 - 3);
      } else c.arc(x1, y1, 3, 0, 7);
      c.stroke();
      c.restore();
      return;
    }
    const angle = Math.atan2(y1 - y0, x1 - x0);
    c.beginPath();
    c.moveTo(x1, y1);
    c.lineTo(x1 - 7 * Math.cos(angle - 0.35), y1 - 7 * Math.sin(angle - 0.35));
    c.lineTo(x1 - 7 * Math.cos(angle + 0.35), y1 - 7 * Math.sin(angle + 0.35));
    c.fill();
  }

  drawArrow(c, view, i, wide, colours) {
    const { messages } = view.trace, place = this.place(i, view), colour = kindColour(messages.kinds[messages.kind[i]], messages.kind[i]);
    c.save();
    c.strokeStyle = c.fillStyle = colour;
    c.lineWidth = wide;
    c.beginPath();
    c.moveTo(place[0], place[1]);
    c.lineTo(place[2], place[3]);
    c.stroke();
    this.drawHead(c, i, place, view, colours, colour);
    c.restore();
    this.drawn.push([i, ...place]);
  }

  /** Too many arrows: how many messages arrive at each lane, in columns, by kind. */
  drawBars(c, view, colours) {
    const { messages, nodes } = view.trace, step = 3, columns = Math.ceil(this.width / step), kinds = messages.kinds.length;
    const counts = new Uint32Array(nodes.length * columns * kinds), totals = new Uint32Array(nodes.length * columns);
    for (const block of messages.blocks) {
      if (block.first > view.to) break;
      if (block.last < view.from) continue;
      for (let i = block.from; i < block.to; i++) {
        if (!view.shown[i] || messages.received[i] < 0) continue;
        const column = Math.floor((this.x(messages.ends[i], view) - GUTTER) / step);
        if (column < 0 || column >= columns) continue;
        const cell = messages.to[i] * columns + column;
        totals[cell] += 1;
        counts[cell * kinds + messages.kind[i]] += 1;
      }
    }
    let most = 1;
    for (const total of totals) if (total > most) most = total;
    const high = this.lane * 0.8;
    for (let node = 0; node < nodes.length; node++) {
      const bottom = this.y(node) + this.lane * 0.4;
      for (let column = 0; column < columns; column++) {
        const cell = node * columns + column;
        if (!totals[cell]) continue;
        const whole = high * Math.log1p(totals[cell]) / Math.log1p(most);
        let y = bottom;
        for (let kind = 0; kind < kinds; kind++) {
          const count = counts[cell * kinds + kind];
          if (!count) continue;
          const part = whole * count / totals[cell];
          c.fillStyle = kindColour(messages.kinds[kind], kind);
          c.fillRect(GUTTER + column * step, y - part, step - 0.5, part);
          y -= part;
        }
      }
    }
  }

  /** Starts, ends and the like, and what an engine noticed when there is room for it. */
  drawMarks(c, view, colours) {
    const { events } = view.trace, first = Math.max(view.trace.eventAt(view.from), 0), last = view.trace.eventAt(view.to);
    const all = last - first < 3000;
    if (all) {
      for (let i = first; i <= last; i++) this.drawMark(c, i, view, colours, false);
    }
    for (const i of view.marks) {
      if (i >= first && i <= last) this.drawMark(c, i, view, colours, true);
    }
  }

  drawMark(c, i, view, colours, great) {
    const { events } = view.trace, x = this.x(events.at[i], view), y = this.y(events.node[i]);
    const kind = events.kinds[events.kind[i]];
    if (!great) {
      if (kind === "sent" || kind === "received" || kind.startsWith("datagram") || view.isMark(kind)) return;
      c.fillStyle = kind === "closed" ? colours.bad : kind === "command" ? colours.accent : colours.faint;
      c.fillRect(x - 1.5, y - (kind === "timer" ? 1.5 : 3.5), 3, kind === "timer" ? 3 : 7);
      return;
    }
    const glyph = { boot: "▲", crash: "✖", pause: "‖", resume: "▶", clock: "◷" }[kind];
    if (!glyph) return;
    c.save();
    c.font = "12px system-ui, sans-serif";
    c.textAlign = "center";
    c.lineWidth = 3;
    c.strokeStyle = colours.ground;
    c.strokeText(glyph, x, y);
    c.fillStyle = kind === "boot" || kind === "resume" ? colours.good : kind === "crash" ? colours.bad : colours.text;
    c.fillText(glyph, x, y);
    c.restore();
  }

  drawNames(c, view, colours, height) {
    c.fillStyle = colours.raised;
    c.fillRect(0, RULER + FAULTS, GUTTER, height);
    for (let node = 0; node < view.trace.nodes.length; node++) {
      const y = this.y(node), top = y - this.lane / 2;
      if (top + this.lane < RULER + FAULTS || top > height) continue;
      if (node === view.node) {
        c.fillStyle = colours.selected;
        c.fillRect(0, Math.max(top, RULER + FAULTS), GUTTER, this.lane);
      }
      const wrong = view.trace.spans.find((s) => s.node === node && s.what !== "cut" && s.what !== "slow" && s.from <= view.moment && view.moment < s.to);
      c.fillStyle = wrong ? colours.faint : colours.good;
      c.beginPath();
      c.arc(12, y, 4, 0, 7);
      c.fill();
      c.fillStyle = colours.text;
      c.font = node === view.node ? "bold 12px system-ui, sans-serif" : "12px system-ui, sans-serif";
      c.fillText(view.trace.nodes[node].name, 22, y - (this.lane > 40 ? 7 : 0));
      c.font = "10px system-ui, sans-serif";
      c.fillStyle = colours.faint;
      if (this.lane > 40) c.fillText(wrong ? wrong.what : view.trace.nodes[node].address.replace(/:.*/, ""), 22, y + 8);
    }
    c.font = "11px system-ui, sans-serif";
  }

  drawFaults(c, view, colours, width) {
    c.fillStyle = colours.ground;
    c.fillRect(0, 0, width, RULER + FAULTS);
    c.fillStyle = colours.faint;
    c.fillText("faults", 22, RULER + 10);
    c.fillText("works", 22, RULER + 23);
    c.save();
    c.beginPath();
    c.rect(GUTTER, RULER, this.width, FAULTS);
    c.clip();
    c.fillStyle = colours.work;
    for (const line of view.trace.story) {
      const x = this.x(line.at, view);
      if (line.kind === "work" && x >= GUTTER && x <= width) c.fillRect(x - 0.5, RULER + 19, 1.2, 8);
    }
    const faults = view.trace.story.filter((line) => line.kind !== "work");
    faults.forEach((line, number) => {
      const x = this.x(line.at, view);
      if (x < GUTTER - 300 || x > width) return;
      c.fillStyle = line.kind === "part" ? colours.good : colours.cut;
      c.beginPath();
      c.moveTo(x, RULER + 16);
      c.lineTo(x - 4, RULER + 8);
      c.lineTo(x + 4, RULER + 8);
      c.fill();
      const next = faults[number + 1] ? this.x(faults[number + 1].at, view) : width;
      const letters = Math.floor((next - x - 12) / 6);
      if (letters < 4) return;
      c.fillStyle = colours.text;
      c.fillText(line.text.length > letters ? `${line.text.slice(0, letters - 1)}…` : line.text, x + 6, RULER + 10);
    });
    for (const broken of view.trace.violations) {
      c.fillStyle = colours.bad;
      const x = this.x(broken.at, view), text = `✗ ${broken.rule}`, wide = c.measureText(text).width + 8;
      const left = x + wide > width ? x - wide : x;
      c.fillRect(left, RULER + 2, wide, 15);
      c.fillStyle = colours.ground;
      c.fillText(text, left + 4, RULER + 10);
    }
    c.restore();
  }

  drawRuler(c, view, colours, width) {
    const wanted = (view.to - view.from) / Math.max(this.width / 110, 1);
    const power = 10 ** Math.floor(Math.log10(wanted));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= wanted) || power;
    const digits = Math.max(0, Math.min(9, 9 - Math.floor(Math.log10(step) + 1e-9)));
    c.fillStyle = colours.faint;
    c.strokeStyle = colours.line;
    c.beginPath();
    for (let time = Math.ceil(view.from / step) * step; time <= view.to; time += step) {
      const x = Math.round(this.x(time, view)) + 0.5;
      c.fillText(`${seconds(time, digits)} s`, x + 4, RULER / 2);
      c.moveTo(x, 4);
      c.lineTo(x, RULER);
    }
    c.moveTo(0, RULER + FAULTS - 0.5);
    c.lineTo(width, RULER + FAULTS - 0.5);
    c.stroke();
  }

  /** The arrow nearest to a point, if one is near. */
  messageAt(x, y) {
    let best = -1, least = 6;
    for (const [i, x0, y0, x1, y1] of this.drawn) {
      const dx = x1 - x0, dy = y1 - y0, length = dx * dx + dy * dy;
      const along = length ? Math.max(0, Math.min(1, ((x - x0) * dx + (y - y0) * dy) / length)) : 0;
      const away = Math.hypot(x - x0 - along * dx, y - y0 - along * dy);
      if (away < least) { least = away; best = i; }
    }
    return best;
  }
}
