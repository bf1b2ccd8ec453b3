// The steps of "Try this", each ticked off when it was done.

import { byId } from "./dom.js";

export class Tour {
  constructor() {
    this.hasLost = false;
    this.count = 0;
    this.pids = new Map();
  }

  message(message, bot) {
    if (message.only_for) return;
    if (message.user !== bot) done("write");
    else if (message.thread_ts) done("mention");
  }

  tickets(count) {
    this.count = count;
    if (count) done("ticket");
    this.lost();
  }

  switches(switches) {
    this.hasLost = this.hasLost || switches.some((one) => one.name === "jira_loses_answers" && one.on);
    this.lost();
  }

  lost() {
    if (this.hasLost && this.count > 1) done("fault");
  }

  workers(workers) {
    if (workers.some((one) => this.pids.get(one.name) && this.pids.get(one.name) !== one.pid)) done("kill");
    this.pids = new Map(workers.map((one) => [one.name, one.pid]));
  }
}

function done(step) {
  byId(`step-${step}`).classList.add("done");
}
