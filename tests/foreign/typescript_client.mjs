// A client of the TypeScript SDK: lists the tools of a server, calls some, prints what came back.
//
//     node typescript_client.mjs PLAN [URL]
//
// PLAN is JSON: {"sdk": 1 or 2, "modern": true or false, "modules": DIRECTORY,
//                "server": {"command", "args", "env", "cwd"} unless there is a URL,
//                "calls": [{"name", "arguments"}, ...]}

import { createRequire } from "node:module";

const plan = JSON.parse(process.argv[2]);
const url = process.argv[3] && new URL(process.argv[3]);
const load = createRequire(plan.modules + "/");
const about = { name: "typescript", version: "1" };

function versionOne() {
  const { Client } = load("@modelcontextprotocol/sdk/client/index.js");
  const { StdioClientTransport } = load("@modelcontextprotocol/sdk/client/stdio.js");
  const { StreamableHTTPClientTransport } = load("@modelcontextprotocol/sdk/client/streamableHttp.js");
  const transport = url ? new StreamableHTTPClientTransport(url) : new StdioClientTransport(plan.server);
  return [new Client(about), transport];
}

function versionTwo() {
  const { Client, StreamableHTTPClientTransport } = load("@modelcontextprotocol/client");
  const { StdioClientTransport } = load("@modelcontextprotocol/client/stdio");
  const transport = url ? new StreamableHTTPClientTransport(url) : new StdioClientTransport(plan.server);
  const options = plan.modern ? { versionNegotiation: { mode: "auto" } } : {};
  return [new Client(about, options), transport];
}

const [client, transport] = plan.sdk === 1 ? versionOne() : versionTwo();
await client.connect(transport);
const { tools } = await client.listTools();
const results = [];
for (const call of plan.calls) {
  results.push(await client.callTool(call));
}
const said = {
  server: client.getServerVersion()?.name,
  version: client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion ?? null,
  tools: tools.map((tool) => tool.name),
  results,
};
await client.close();
console.log(JSON.stringify(said));
