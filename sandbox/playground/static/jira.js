// Jira's tickets, the switches for faults, the workers and the requests, beside Slack.

import { byId, el } from "./dom.js";

export function showTickets(tickets, say) {
  const list = byId("tickets");
  byId("no-tickets").hidden = tickets.length > 0;
  const known = new Set([...list.children].map((item) => item.id));
  const isFirst = list.dataset.shown !== "yes";
  list.dataset.shown = "yes";
  list.replaceChildren(...tickets.map(ticketElement));
  const fresh = tickets.filter((ticket) => !known.has(idOf(ticket.key)));
  if (fresh.length && !isFirst) say(`Jira has made ${fresh.map((ticket) => ticket.key).join(", ")}.`);
}

export const idOf = (key) => `ticket-${key}`;

function ticketElement(ticket) {
  return el(
    "li",
    { class: "ticket", id: idOf(ticket.key), tabindex: "-1" },
    el("h3", {}, el("span", { class: "key" }, ticket.key), " ", ticket.summary),
    el("p", { class: "hint" }, [ticket.type, ...ticket.labels].join(" · ")),
    ticket.description ? el("p", { class: "written" }, ticket.description) : null,
    ticket.links.map((link) => el("p", { class: "hint" }, `Link: ${link.title}`)),
    (ticket.files || []).map((name) => el("p", { class: "hint" }, `File: ${name}`)),
    ticket.comments.length ? el("p", { class: "hint" }, "Comments") : null,
    ticket.comments.map((comment) => el("p", { class: "written" }, comment)),
  );
}

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
          el("label", { for: id }, input, " ", one.label),
          el("p", { class: "hint", id: `${id}-what` }, one.what),
        ),
      );
    }
    input.checked = one.on;
  }
}

export function showWorkers(workers, kill) {
  const box = byId("workers");
  box.hidden = workers.length === 0;
  for (const worker of workers) {
    let row = byId(`worker-${worker.name}`);
    if (!row) {
      row = el("p", { id: `worker-${worker.name}` }, el("button", { type: "button", onclick: () => kill(worker.name) }, worker.label), " ", el("span", { class: "hint" }));
      box.append(row);
    }
    row.lastElementChild.textContent = worker.pid ? `process ${worker.pid}` : "not running; it is started again";
  }
}

const MOST_REQUESTS = 30;

export function showRequest(request) {
  const list = byId("requests");
  const result = request.status === null ? request.fault : `status ${request.status}`;
  const again = request.retry ? `, delivery ${request.retry + 1}` : "";
  const item = el("li", { class: request.is_accepted ? "" : "error" }, `${request.kind}${again}: ${result}, ${Math.round(request.seconds * 1000)} ms`);
  list.prepend(item);
  while (list.children.length > MOST_REQUESTS) list.lastElementChild.remove();
}
