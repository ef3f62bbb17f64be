// A forced answer of a stand-in: how a server misbehaves, as data.
//
//   {status, headers, body}   this answer; an object as body is sent as JSON
//   {delay: ms}               the same, later
//   {hang: true}              no answer at all; the connection stays open
//   {reset: true}             the connection is cut before any answer
//   {truncate: n}             a head that promises the whole body, n bytes of it, then a cut
import { setTimeout as later } from 'node:timers/promises';

export async function playAnswer(res, answer) {
  if (answer.delay) await later(answer.delay, undefined, { ref: false });
  if (answer.hang) return;
  if (answer.reset) {
    res.socket.destroy();
    return;
  }
  const [type, body] = encode(answer.body ?? '');
  const headers = { 'Content-Type': type, 'Content-Length': body.length, ...answer.headers };
  res.writeHead(answer.status ?? 200, headers);
  if (answer.truncate === undefined) {
    res.end(body);
    return;
  }
  res.write(body.subarray(0, answer.truncate), () => res.socket.destroy());
}

function encode(body) {
  if (typeof body === 'string') return ['text/plain; charset=utf-8', Buffer.from(body)];
  if (Buffer.isBuffer(body)) return ['application/octet-stream', body];
  return ['application/json', Buffer.from(JSON.stringify(body))];
}
