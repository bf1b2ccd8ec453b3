// Jira's tickets, the switches for faults, the workers and the requests, beside Slack.

import { byId, el } from "./dom.js";

export function showTickets(tickets, say, linkOf) {
  const list = byId("tickets");
  byId("no-tickets").hidden = tickets.length > 0;
  byId("ticket-count").textContent = tickets.length;
  const known = new Set([...list.children].map((item) => item.id));
  const isFirst = list.dataset.shown !== "yes";
  list.dataset.shown = "yes";
  const fresh = tickets.filter((ticket) => !known.has(idOf(ticket.key)));
  list.replaceChildren(...tickets.map((ticket) => ticketElement(ticket, !isFirst && fresh.includes(ticket), linkOf)));
  if (fresh.length && !isFirst) say(`Jira has made ${fresh.map((ticket) => ticket.key).join(", ")}.`);
}

export const idOf = (key) => `ticket-${key}`;

const MARKER = /^slk-[a-z2-7]{26}$/;

function ticketElement(ticket, isFresh, linkOf) {
  return el(
    "li",
    { class: isFresh ? "ticket fresh" : "ticket", id: idOf(ticket.key), tabindex: "-1" },
    el("h3", {}, el("span", { class: "key" }, ticket.key), " ", ticket.summary),
    el("p", { class: "hint" }, el("span", { class: "pill" }, ticket.type), ticket.labels.map(labelElement)),
    ticket.description ? el("p", { class: "written" }, ticket.description) : null,
    ticket.fields.length
      ? el("dl", {}, ticket.fields.flatMap((field) => [el("dt", {}, field.name), el("dd", {}, field.value)]))
      : null,
    ticket.links.map((link) => el("p", {}, linkOf(link.url, link.title))),
    ticket.files.map((file) => el("p", { class: "hint" }, `Attachment: ${file.name} (${sizeOf(file.size)})`)),
    ticket.comments.length ? el("p", { class: "hint" }, ticket.comments.length === 1 ? "Comment" : "Comments") : null,
    ticket.comments.map((comment) => el("p", { class: "written comment" }, comment)),
  );
}

function labelElement(label) {
  const isMarker = MARKER.test(label);
  return el(
    "span",
    { class: isMarker ? "pill marker" : "pill", title: isMarker ? "The marker, by which threadsync finds the thread's ticket again" : null },
    label,
  );
}

const sizeOf = (bytes) => (bytes < 1000 ? `${bytes} bytes` : `${Math.round(bytes / 1000)} kB`);

export function showSwitches(switches, turn) {
  const box = byId("switches");
  for (const one of switches) {
    let input = byId(`switch-${one.name}`);
    if (!input) {
      const id = `switch-${one.name}`;
      input = el("input", { type: "checkbox", id, "aria-describedby": `${id}-what` });
      input.addEventListener("change", () => turn(one.name, input.checked));
      box.append(
        el(
          "div",
          { class: "switch" },
          el("label", { for: id }, input, el("span", {}, one.label)),
          el("p", { class: "hint", id: `${id}-what` }, one.what),
        ),
      );
    }
    input.checked = one.on;
    input.closest(".switch").classList.toggle("on", one.on);
  }
}

export function showWorkers(workers, kill) {
  const box = byId("workers");
  box.hidden = workers.length === 0;
  for (const worker of workers) {
    let row = byId(`worker-${worker.name}`);
    if (!row) {
      row = el(
        "p",
        { id: `worker-${worker.name}`, class: "worker" },
        el("span", {}, worker.label, el("span", { class: "hint" })),
        el("button", { type: "button", class: "danger", "aria-label": `Kill: ${worker.label}`, onclick: () => kill(worker.name) }, "Kill"),
      );
      box.append(row);
    }
    row.querySelector(".hint").textContent = worker.pid ? `process ${worker.pid}` : "not running; it is started again";
  }
}

const MOST_REQUESTS = 30;

export function showRequest(request) {
  const list = byId("requests");
  const result = request.status === null ? request.fault : `status ${request.status}`;
  const again = request.retry ? `, delivery ${request.retry + 1}` : "";
  const item = el(
    "li",
    { class: request.is_accepted ? "" : "bad" },
    el("span", { class: "kind" }, `${request.kind}${again}`),
    el("span", { class: "result" }, result),
    el("span", { class: "hint" }, `${Math.round(request.seconds * 1000)} ms`),
  );
  list.prepend(item);
  while (list.children.length > MOST_REQUESTS) list.lastElementChild.remove();
}
