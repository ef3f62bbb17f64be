import { setTimeout as later } from 'node:timers/promises';

/** Asks until the answer is liked: for what has no event that reaches a test. Fails with the last answer. */
export async function eventually(ask, likes, { tries = 400, pauseMs = 25 } = {}) {
  let last;
  for (let i = 0; i < tries; i += 1) {
    last = await ask();
    if (likes(last)) return last;
    await later(pauseMs);
  }
  throw new Error(`it never came; the last was ${JSON.stringify(last)?.slice(0, 2000)}`);
}
