// A Trainee behind messages, for a worker: the page's own thread never waits for a step.
//
// In: { do: "begin", ...given } · "start" · "pause" · "step" · "reset" (seed) · "rate" (factor) ·
// "break" (name, on) · "help" (ports) · "attention" (block, head) · "weights". Out: { is: "ready" | "points" | "exam" |
// "story" | "attention" | "weights" | "running" | "failed" | "helped", ... }; points come a few times a second, several steps in one message.
//
// With ports to other workers, which { do: "assist", config, batch_size, place, of, port } made
// helpers of, a step is shared among them. What the page says meanwhile waits until the step is over.
import { answering, asking } from "./together.js";
import { Trainee } from "./trainee.js";

const PATIENCE = 200; // milliseconds between two messages with points

// post(message, transfer) sends; later(work) does it after the messages that wait; options: how many
// steps lie between two exams, and how many seconds between two stories.
export function serve(post, later, { examEvery = 100, storyEvery = 5 } = {}) {
  let trainee = null, helpers = [], busy = false, asked = [], running = false, points = [], sent = 0, told = -Infinity, turn = 0;
  const flush = () => {
    if (points.length) post({ is: "points", points });
    points = [];
    sent = performance.now();
  };
  const report = () => {
    post({ is: "exam", ...trainee.exam() });
    if (trainee.seconds - told < storyEvery) return;
    told = trainee.seconds;
    post({ is: "story", ...trainee.write() });
  };
  const once = () => reckon(trainee.step());
  const reckon = (point) => {
    points.push(point);
    const due = trainee.steps % examEvery === 0;
    if (due || performance.now() - sent > PATIENCE) flush();
    if (due) report();
    else if (trainee.seconds - told >= storyEvery) { told = trainee.seconds; post({ is: "story", ...trainee.write() }); }
  };
  const halt = () => { running = false; turn += 1; post({ is: "running", running }); };
  const attempt = (work) => {
    try {
      work();
    } catch (error) {
      flush();
      halt();
      post({ is: "failed", message: error.message });
    }
  };
  // A step, alone or together, and what follows it.
  const then = (follows) => {
    if (!helpers.length) { attempt(once); follows(); return; }
    busy = true;
    const heard = (work) => { attempt(work); busy = false; follows(); while (asked.length && !busy) handle(asked.shift()); };
    trainee.stepTogether(helpers).then((point) => heard(() => reckon(point)), (error) => heard(() => { throw error; }));
  };
  const go = (mine) => {
    if (!running || mine !== turn || busy) return;
    then(() => goOn(mine));
  };
  const goOn = (mine) => {
    if (running && trainee.steps === trainee.end) { flush(); halt(); report(); }
    later(() => go(mine));
  };
  const deeds = {
    begin(given) {
      trainee = new Trainee(given);
      const { room, sheets } = trainee;
      post({ is: "ready", parameters: room.flat.weights.length, bytes: room.bytes, simd: room.simd, floor: sheets.floor });
      report();
    },
    start() { if (!running) { running = true; turn += 1; post({ is: "running", running }); go(turn); } },
    pause() { flush(); halt(); },
    step() { if (!running) then(flush); },
    help({ ports }) { helpers = ports.map(asking); post({ is: "helped" }); },
    reset({ seed }) { halt(); points = []; told = -Infinity; trainee.reset(seed); report(); },
    rate({ factor }) { trainee.factor = factor; },
    break({ name, on }) {
      if (on) trainee.broken.add(name); else trainee.broken.delete(name);
      if (name === "big_start" && trainee.steps === 0) { trainee.reset(); report(); } // a beginning is broken before it is over
    },
    attention({ block, head }) {
      const seen = trainee.attention(block, head);
      post({ is: "attention", ...seen }, [seen.weights.buffer]);
    },
    weights() { const { buffer } = trainee.file(); post({ is: "weights", step: trainee.steps, file: buffer }, [buffer]); },
  };
  const handle = (message) => attempt(() => {
    if (!Object.hasOwn(deeds, message.do)) throw new Error(`The worker does not know ${JSON.stringify(message.do)}.`);
    deeds[message.do](message);
  });
  return (message) => { if (busy) asked.push(message); else handle(message); };
}

// In a worker, and nowhere else: a channel to itself gives way to the page's messages between two
// steps, and is not slowed down in a tab that nobody looks at, as a timer would be.
if (typeof WorkerGlobalScope !== "undefined" && globalThis instanceof WorkerGlobalScope) {
  const channel = new MessageChannel();
  let next = () => {};
  channel.port1.onmessage = () => next();
  const receive = serve((message, transfer) => postMessage(message, transfer ?? []), (work) => { next = work; channel.port2.postMessage(0); });
  onmessage = ({ data }) => (data.do === "assist" ? answering(data) : receive(data));
}
