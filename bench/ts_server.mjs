// The server to compare with in the other language: the TypeScript SDK's, with one tool that does
// nothing, as its own README serves it. Usage: `node ts_server.mjs [--http]`; over HTTP it says on
// stderr where it listens. Its packages are found beside it, in `node_modules`.

import { createServer } from 'node:http';

import { createMcpHandler, fromJsonSchema, McpServer } from '@modelcontextprotocol/server';

// Made once: over HTTP the SDK makes a server for each request.
const nothing = fromJsonSchema({ type: 'object', properties: {} });
const text = fromJsonSchema({
  type: 'object',
  properties: { result: { type: 'string' } },
  required: ['result'],
});

function make() {
  const server = new McpServer({ name: 'bare', version: '1' });
  server.registerTool(
    'noop',
    { description: 'Do nothing.', inputSchema: nothing, outputSchema: text },
    async () => ({ content: [{ type: 'text', text: '' }], structuredContent: { result: '' } }),
  );
  return server;
}

async function http() {
  const { localhostHostValidation, localhostOriginValidation, toNodeHandler } = await import(
    '@modelcontextprotocol/node'
  );
  const [host, origin] = [localhostHostValidation(), localhostOriginValidation()];
  const handle = toNodeHandler(createMcpHandler(make));
  const server = createServer((request, response) => {
    if (host(request, response) && origin(request, response)) handle(request, response);
  });
  server.listen(0, '127.0.0.1', () => {
    const url = `http://127.0.0.1:${server.address().port}/mcp`;
    process.stderr.write(`${JSON.stringify({ event: 'listening', url })}\n`);
  });
}

if (process.argv.includes('--http')) {
  await http();
} else {
  const { serveStdio } = await import('@modelcontextprotocol/server/stdio');
  serveStdio(make);
}
