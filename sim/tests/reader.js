// What a reader does with the page of a run, and what it shows then; runs after the page's own script.
"use strict";
const told = {}, { trace } = view, { messages } = trace;
const shown = () => view.shown.reduce((sum, one) => sum + one, 0);
// Look at everything: how long the arrows are of what was delivered, and of what was not.
view.look(0, trace.end);
timeline.measure(view);
const long = { delivered: 0, lost: 0, under_way: 0 }, count = { delivered: 0, lost: 0, under_way: 0 };
for (let i = 0; i < messages.count; i++) {
  const [x0, y0, x1, y1] = timeline.place(i, view), fate = messages.received[i];
  const which = fate >= 0 ? "delivered" : fate === -1 ? "lost" : "under_way";
  count[which] += 1;
  long[which] = Math.max(long[which], Math.hypot(x1 - x0, y1 - y0));
}
Object.assign(told, { long, count });
// Move the slider.
$("slider").value = 500000;
$("slider").dispatchEvent(new Event("input"));
paintNow();
told.moment = view.moment;
told.time = $("time").value;
// Click a node's name, and read what it knows.
const canvas = $("timeline"), at = canvas.getBoundingClientRect();
const click = (x, y) => {
  for (const type of ["pointerdown", "pointerup"]) {
    // No such pointer can be captured; the click is one all the same.
    canvas.dispatchEvent(new PointerEvent(type, { button: 0, bubbles: true, clientX: at.left + x, clientY: at.top + y }));
  }
  paintNow();
};
click(30, timeline.y(1));
told.node = view.node;
told.heading = document.querySelector("#body h2").textContent;
told.sections = [...document.querySelectorAll("#body [data-section]")].map((part) => part.dataset.section);
// Filter by session, by member, and by kind.
told.all = shown();
const enter = (id, event, value) => { $(id).value = value; $(id).dispatchEvent(new Event(event)); };
const session = trace.sessionIds.find((id) => id.length > 30);
enter("session", "input", session);
told.session = { id: session, shown: shown() };
enter("session", "input", "");
enter("member", "change", "2");
told.member = shown();
enter("member", "change", "");
$("kinds").firstChild.click();
told.kind = { name: messages.kinds[0], shown: shown() };
$("kinds").firstChild.click();
told.again = shown();
const result = document.createElement("pre");
result.id = "told";
result.textContent = JSON.stringify(told);
document.body.append(result);
