// A plain Node server: no framework, no package. Answers `/` with who answered, `/healthz` with ok, `/echo` with what was
// sent, `/stream` with a line every 100 ms. On SIGTERM it finishes what it has begun.
'use strict';
const http = require('node:http');

const version = process.env.APP_VERSION ?? 'v1';

const server = http.createServer((request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost');
  if (pathname === '/') {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ app: 'node', version, process: process.pid }) + '\n');
  } else if (pathname === '/healthz') {
    response.end('ok\n');
  } else if (pathname === '/echo' && request.method === 'POST') {
    request.pipe(response);
  } else if (pathname === '/stream') {
    let line = 0;
    const timer = setInterval(() => {
      response.write(`line ${++line}\n`);
      if (line === 10) response.end();
    }, 100);
    response.on('close', () => clearInterval(timer));
  } else {
    response.statusCode = 404;
    response.end('there is nothing here\n');
  }
});

server.listen(Number(process.env.PORT), '127.0.0.1', () => console.log(`node-app ${version} on port ${process.env.PORT}`));
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
