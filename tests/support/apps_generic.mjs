// A small web app as there are many behind a proxy: XHR, a form with a redirect, an upload, WebSocket, server-sent events,
// cookies (also ones that are none of its business), a slow answer. And a page of a hostile one.
//
//   const app = await startGeneric();    app.url, app.requests, app.sockets, app.close()
import { AppServer, appPage, sendJson, sendPage, sendText } from './apps.mjs';
import { acceptWebSocket, protocolsOf } from './websocket.mjs';

class Generic extends AppServer {
  /** WebSockets that are open, and SSE answers. */
  sockets = new Set();
  listeners = new Set();

  /** `base`: the path below which it lives. */
  constructor({ base = '', ...rest } = {}) {
    super(rest);
    this.base = base;
    this.#routes = {
      'GET /': (req, res) => sendPage(res, page(base), { 'Set-Cookie': [`app=1; Path=${base || '/'}; HttpOnly; SameSite=Lax`] }),
      'GET /whoami': (req, res) => sendJson(res, 200, { headers: req.headers }),
      'POST /form': (req, res) => this.#form(req, res),
      'GET /thanks': (req, res) => sendText(res, 200, `Thank you, ${req.location.searchParams.get('name')}`),
      'POST /upload': (req, res) => sendJson(res, 200, { bytes: req.body.length }),
      'POST /write': (req, res) => sendJson(res, 200, { written: req.body.toString() }),
      'GET /cookies': (req, res) => sendJson(res, 200, {}, { 'Set-Cookie': hostileCookies }),
      'GET /events': (req, res) => this.#events(res),
      'GET /slow': (req, res) => this.#slow(req, res),
      'GET /big': (req, res) => sendText(res, 200, 'x'.repeat(Number(req.location.searchParams.get('bytes')))),
      'GET /status': (req, res) => sendText(res, Number(req.location.searchParams.get('code')), 'as you wish', { 'X-Own': 'yes' }),
      'GET /worker.js': (req, res) => res.writeHead(200, { 'Content-Type': 'text/javascript', 'Service-Worker-Allowed': '/' }).end('onfetch = () => {};'),
      'GET /away': (req, res) => res.writeHead(302, { Location: req.location.searchParams.get('to') }).end(),
    };
  }

  #routes;

  answer(req, res) {
    const { pathname } = req.location;
    const own = pathname.startsWith(this.base) ? pathname.slice(this.base.length) || '/' : undefined;
    const route = this.#routes[`${req.method === 'HEAD' ? 'GET' : req.method} ${own}`];
    if (route) return route(req, res);
    return own?.startsWith('/page/') ? sendPage(res, page(this.base)) : sendText(res, 404, 'not found here');
  }

  #form(req, res) {
    const name = new URLSearchParams(req.body.toString()).get('name');
    res.writeHead(303, { Location: `${this.base}/thanks?${new URLSearchParams({ name })}` }).end();
  }

  #events(res) {
    res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    res.write('data: hello\n\n');
    this.listeners.add(res);
    res.once('close', () => this.listeners.delete(res));
  }

  /** To all that listen to /events. */
  say(text) {
    for (const res of this.listeners) res.write(`data: ${text}\n\n`);
  }

  // A piece each 50 ms: what is held back on the way arrives in one.
  #slow(req, res) {
    let left = Number(req.location.searchParams.get('pieces') ?? 4);
    res.writeHead(200, { 'Content-Type': 'text/plain' });
    const timer = setInterval(() => {
      res.write(`${left}\n`);
      left -= 1;
      if (left === 0) res.end();
      if (left === 0) clearInterval(timer);
    }, 50);
    res.once('close', () => clearInterval(timer));
  }

  upgrade(req, socket, head) {
    const ws = acceptWebSocket(req, socket, head, { protocol: protocolsOf(req)[0] });
    this.sockets.add(ws);
    ws.on('message', (message) => ws.send(message)).once('close', () => this.sockets.delete(ws));
  }
}

/** What an app could set to take a session's place, or to be sent where it has no business. */
export const hostileCookies = [
  '__Host-postern=stolen; Path=/; Secure', '__host-postern-app-app=fixed; Path=/; Secure', '__Host-postern-begin-AAAAAAAA=fixed; Path=/; Secure; HttpOnly',
  'everywhere=1; Path=/; Domain=example.test', 'parent=1; Domain=.k8s.example.test; Path=/', 'own=1; Path=/; HttpOnly',
];

const page = (base) => appPage({
  title: 'Reports (stand-in)',
  colour: '#7a3e00',
  body: `<h1 id="where">…</h1>
<dl><dt>fetch</dt><dd id="fetch">…</dd><dt>XMLHttpRequest</dt><dd id="xhr">…</dd><dt>WebSocket</dt><dd id="ws">…</dd><dt>Events</dt><dd id="sse"></dd><dt>Upload</dt><dd id="upload">…</dd></dl>
<form method="post" action="${base}/form"><label>Your name <input name="name"></label> <button>Send</button></form>`,
  script: `
const base = ${JSON.stringify(base)};
show('where', location.pathname + location.search);
async function askByFetch() {
  const answer = await fetch(base + '/whoami');
  show('fetch', answer.status + ' ' + (answer.headers.get('content-type') ?? ''));
  return { status: answer.status, type: answer.headers.get('content-type'), redirected: answer.redirected, text: await answer.text() };
}
const xhr = new XMLHttpRequest();
xhr.open('POST', base + '/write');
xhr.setRequestHeader('X-Requested-With', 'XMLHttpRequest');
xhr.onload = () => show('xhr', xhr.status + ' ' + xhr.responseText.trim());
xhr.send('by XHR');
const ws = new WebSocket(location.origin.replace('http', 'ws') + base + '/socket', ['echo.example']);
ws.onopen = () => ws.send('hello');
ws.onmessage = ({ data }) => show('ws', 'open ' + ws.protocol + ' ' + data);
ws.onclose = ({ code }) => show('ws', 'closed ' + code);
const events = new EventSource(base + '/events');
events.onmessage = ({ data }) => document.getElementById('sse').append(data + ' ');
const form = new FormData();
form.append('file', new Blob(['x'.repeat(100000)]), 'report.txt');
fetch(base + '/upload', { method: 'POST', body: form }).then((answer) => answer.json()).then(({ bytes }) => show('upload', String(bytes > 100000)));
askByFetch();`,
});

export function startGeneric({ port, ...options } = {}) {
  return new Generic(options).listen(port);
}
