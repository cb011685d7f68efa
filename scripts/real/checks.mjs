// What the official Node SDK must find in a Pixgate that sells a real model. Arguments come as JSON on standard input:
// {url, key, poor_key, prices: {unit: micros per million}}. One JSON line a check: {name, ok, line, cost_micros}.
import fs from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// The SDK is installed in the working directory, not beside this file.
const { default: OpenAI } = await import(pathToFileURL(createRequire(process.cwd() + "/").resolve("openai")));

const { url, key, poor_key: poorKey, prices } = JSON.parse(fs.readFileSync(0, "utf8"));
const baseURL = url + "/v1";
const client = new OpenAI({ baseURL, apiKey: key });
const question = [{ role: "user", content: "Name the largest planet. Answer in one short sentence." }];

function same(what, found, expected) {
  if (found !== expected) throw new Error(`${what} is ${JSON.stringify(found)} instead of ${JSON.stringify(expected)}`);
}

function priceMicros(usage) {
  const cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
  const buckets = [
    [usage.prompt_tokens - cached, prices.input_token],
    [cached, prices.cached_input_token],
    [usage.completion_tokens, prices.output_token],
  ];
  const total = buckets.reduce((sum, [tokens, micros]) => sum + BigInt(tokens) * BigInt(micros), 0n);
  return Number((total + 999_999n) / 1_000_000n);
}

function paid(usage, text) {
  same("usage.cost_micros", usage.cost_micros, priceMicros(usage));
  if (!text.trim()) throw new Error("the answer is empty");
  const short = text.trim().replace(/\s+/g, " ").slice(0, 40);
  return { line: `in ${usage.prompt_tokens}, out ${usage.completion_tokens}: ${usage.cost_micros} micros, «${short}»`, cost_micros: usage.cost_micros };
}

async function refused(apiKey, model, kind, status, code) {
  let attempts = 0;
  const counting = (...request) => {
    attempts += 1;
    return fetch(...request);
  };
  try {
    await new OpenAI({ baseURL, apiKey, fetch: counting }).chat.completions.create({ model, messages: question, max_tokens: 40 });
  } catch (error) {
    if (!(error instanceof kind)) throw error;
    same("the status", error.status, status);
    same("the code", error.code, code);
    same("the number of attempts", attempts, 1);
    return { line: `${error.constructor.name} ${status} ${code}, not retried`, cost_micros: 0 };
  }
  throw new Error("the call was not refused");
}

const checks = {
  "list of models": async () => {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    if (!names.includes("smollm2")) throw new Error("smollm2 is not listed");
    return { line: `${names.length} models`, cost_micros: 0 };
  },
  chat: async () => {
    const answer = await client.chat.completions.create({ model: "smollm2", messages: question, max_tokens: 40, temperature: 0 });
    return paid(answer.usage, answer.choices[0].message.content);
  },
  "chat, streamed": async () => {
    const options = { model: "smollm2", messages: question, max_tokens: 40, stream: true, stream_options: { include_usage: true } };
    let [text, usage] = ["", null];
    for await (const chunk of await client.chat.completions.create(options)) {
      text += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
    }
    return paid(usage, text);
  },
  "chat with pixgate/echo": async () => {
    const messages = [{ role: "user", content: "one two three" }];
    const stream = client.chat.completions.stream({ model: "pixgate/echo", messages, stream_options: { include_usage: true } });
    const answer = await stream.finalChatCompletion();
    same("the echo", answer.choices[0].message.content, "one two three");
    return { line: `${answer.usage.cost_micros} micros`, cost_micros: answer.usage.cost_micros };
  },
  "embeddings (echo)": async () => {
    const answer = await client.embeddings.create({ model: "pixgate/echo-embedding", input: "one text" });
    if (!(answer.data[0].embedding.length > 0)) throw new Error("the embedding is empty");
    return { line: `${answer.data[0].embedding.length} numbers`, cost_micros: answer.usage.cost_micros };
  },
  "wrong key": () => refused(key.slice(0, -1) + (key.endsWith("a") ? "b" : "a"), "smollm2", OpenAI.AuthenticationError, 401, "invalid_api_key"),
  "unknown model": () => refused(key, "no/such-model", OpenAI.NotFoundError, 404, "model_not_found"),
  "no credit": () => refused(poorKey, "smollm2", OpenAI.APIError, 402, "insufficient_credits"),
};

for (const [name, check] of Object.entries(checks)) {
  let outcome;
  try {
    outcome = { name, ok: true, ...(await check()) };
  } catch (error) {
    outcome = { name, ok: false, line: String(error), cost_micros: 0 };
  }
  console.log(JSON.stringify(outcome));
}
