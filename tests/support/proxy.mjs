// A proxy that knows CONNECT and nothing else, as companies have them.
import net from 'node:net';

/**
 * Starts one on a free port. {url, targets, heads, refuse(status), close()}: targets are the host:port that it was
 * asked for, heads the whole requests.
 */
export async function startProxy() {
  const targets = [];
  const heads = [];
  const sockets = new Set();
  let refusal;
  const keep = (socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
  };
  const connect = (client, head) => {
    const [, target] = /^CONNECT (\S+) HTTP\/1\.1\r\n/.exec(head) ?? [];
    heads.push(head);
    targets.push(target);
    if (refusal || !target) {
      client.end(`HTTP/1.1 ${refusal ?? 400} No\r\nContent-Length: 0\r\n\r\n`);
      return;
    }
    const at = target.lastIndexOf(':');
    const server = net.connect(Number(target.slice(at + 1)), target.slice(0, at), () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      client.pipe(server).pipe(client);
    });
    keep(server);
    server.on('error', () => client.destroy()).on('close', () => client.destroy());
    client.on('close', () => server.destroy());
  };
  const listener = net.createServer((client) => {
    let head = '';
    keep(client);
    client.on('data', function onHead(bytes) {
      head += bytes.toString('latin1');
      if (!head.includes('\r\n\r\n')) return;
      client.off('data', onHead);
      connect(client, head);
    });
  });
  await new Promise((resolve) => { listener.listen(0, '127.0.0.1', resolve); });
  return {
    url: `http://127.0.0.1:${listener.address().port}`,
    targets,
    heads,
    refuse: (status) => { refusal = status; },
    close: () => new Promise((resolve) => {
      listener.close(resolve);
      for (const socket of sockets) socket.destroy();
    }),
  };
}
