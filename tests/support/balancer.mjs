// What stands in front of a portal: a proxy that ends TLS, or a balancer that passes bytes on behind a PROXY line.
// Both connect from an address of their own, 127.0.0.2: all of 127.0.0.0/8 is this machine.
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';

export const balancerAddress = '127.0.0.2';

async function listen(server, port, sockets) {
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
  });
  await new Promise((resolve) => { server.listen(port, '127.0.0.1', resolve); });
  return () => new Promise((resolve) => {
    server.close(resolve);
    for (const socket of sockets) socket.destroy();
  });
}

/**
 * Ends TLS on `port` and asks http://127.0.0.1:`to`, as such proxies do: appends to X-Forwarded-For and sets
 * X-Forwarded-Proto. `rewrite(headers)` may change what is sent on. {close()}
 */
export async function startTlsProxy({ port, to, tls }) {
  const agent = new http.Agent({ keepAlive: true, localAddress: balancerAddress });
  const proxy = { rewrite: () => {} };
  const server = https.createServer({ cert: tls.cert, key: tls.key }, (req, res) => {
    const before = req.headers['x-forwarded-for'];
    const headers = {
      ...req.headers,
      'x-forwarded-for': `${before === undefined ? '' : `${before}, `}${req.socket.remoteAddress}`,
      'x-forwarded-proto': 'https',
    };
    proxy.rewrite(headers);
    const onward = http.request({ host: '127.0.0.1', port: to, path: req.url, method: req.method, headers, agent }, (answer) => {
      res.writeHead(answer.statusCode, answer.rawHeaders);
      answer.pipe(res);
    });
    onward.on('error', () => res.destroy());
    req.pipe(onward);
  });
  const close = await listen(server, port, new Set());
  proxy.close = () => {
    agent.destroy();
    return close();
  };
  return proxy;
}

/** Passes each connection to `port` on to 127.0.0.1:`to`, with PROXY protocol version 1 in front. {close()} */
export async function startLineBalancer({ port, to }) {
  const sockets = new Set();
  const server = net.createServer((client) => {
    const onward = net.connect({ host: '127.0.0.1', port: to, localAddress: balancerAddress }, () => {
      onward.write(`PROXY TCP4 ${client.remoteAddress} ${client.localAddress} ${client.remotePort} ${client.localPort}\r\n`);
      client.pipe(onward).pipe(client);
    });
    sockets.add(onward);
    onward.on('error', () => {}).on('close', () => client.destroy());
    client.on('close', () => onward.destroy());
  });
  return { close: await listen(server, port, sockets) };
}
