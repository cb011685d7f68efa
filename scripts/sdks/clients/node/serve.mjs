// Runs the scenarios of one Node SDK, as ../python/serve.py does: one JSON request a line in, one JSON answer a line out.
// Arguments: the adapter's file, and what the adapter wants to know.
import { createInterface } from "node:readline";

const answer = process.stdout.write.bind(process.stdout);
console.log = console.info = console.warn = console.error;
// An SDK may reject a promise that nobody waits for after a stream was left.
process.on("unhandledRejection", (reason) => console.error("unhandled", reason));

const { connect } = await import(new URL(process.argv[2], import.meta.url));
let [client, connected] = [null, ""];
for await (const line of createInterface({ input: process.stdin })) {
  const { scenario, data, url, key, model } = JSON.parse(line);
  let result;
  try {
    if (connected !== url + key) [client, connected] = [await connect(url, key, process.argv[3]), url + key];
    result = { outcome: await client[scenario](model, data) };
  } catch (error) {
    result = { failed: String(error?.stack ?? error).slice(0, 1500) };
  }
  answer(JSON.stringify(result) + "\n");
}
process.exit(0);
