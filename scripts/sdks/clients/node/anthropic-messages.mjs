// The package `@anthropic-ai/sdk`, Messages.
import { refusal, sdk } from "./common.mjs";
const { default: Anthropic } = await sdk("@anthropic-ai/sdk");

const callsOf = (answer) => answer.content.filter((block) => block.type === "tool_use");
const read = (answer) => callsOf(answer).map((call) => [call.name, call.input]);

// Anthropic counts what was read from or written to a cache apart.
function usageOf({ usage }) {
  return { input: usage.input_tokens + (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0), output: usage.output_tokens };
}

function outcome(...answers) {
  const text = answers.at(-1).content.filter((block) => block.type === "text").map((block) => block.text).join("");
  return { text, finish: answers.at(-1).stop_reason, usages: answers.map(usageOf), ids: answers.map((answer) => answer.id) };
}

export function connect(url, key) {
  const client = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0, timeout: 60_000 });
  const options = (model, data, more) => ({
    model,
    messages: [{ role: "user", content: data.user }],
    max_tokens: data.max_output_tokens,
    ...(data.system && { system: data.system }),
    ...(data.tool && { tools: [{ name: data.tool.name, description: data.tool.description, input_schema: data.tool.parameters }] }),
    ...more,
  });
  const ask = (model, data, more) => client.messages.create(options(model, data, more));
  async function streamed(model, data, more) {
    const stream = client.messages.stream(options(model, data, more));
    let pieces = 0;
    stream.on("text", () => (pieces += 1));
    return Object.assign(await stream.finalMessage(), { pieces });
  }
  const talk = (data, answer) => [
    { role: "user", content: data.user },
    { role: "assistant", content: answer.content },
    { role: "user", content: callsOf(answer).map((call) => ({ type: "tool_result", tool_use_id: call.id, content: JSON.stringify(data.result) })) },
  ];
  const round = (one) => async (model, data) => {
    const first = await one(model, data);
    const second = await one(model, data, { messages: talk(data, first) });
    return { ...outcome(first, second), calls: read(first) };
  };
  const plain = async (model, data) => outcome(await ask(model, data));
  const refused = async (model, data) => {
    try {
      return await plain(model, data);
    } catch (error) {
      return refusal(error, error.status);
    }
  };

  return {
    plain,
    usage: plain,
    async stream(model, data) {
      const answer = await streamed(model, data);
      return { ...outcome(answer), pieces: answer.pieces };
    },
    tools: round(ask),
    parallel: round(streamed),
    async image(model, data) {
      const source = { type: "base64", media_type: data.image.mime, data: data.image.base64 };
      const content = [{ type: "image", source }, { type: "text", text: data.user }];
      return outcome(await ask(model, data, { messages: [{ role: "user", content }] }));
    },
    async schema(model, data) {
      const answer = await ask(model, data, { output_config: { format: { type: "json_schema", schema: data.schema.body } } });
      const result = outcome(answer);
      return { ...result, object: JSON.parse(result.text) };
    },
    model_error: refused,
    parameter_error: refused,
    async models() {
      const models = [];
      for await (const model of client.models.list()) models.push(model.id);
      return { models };
    },
    async count(model, data) {
      const { messages, system } = options(model, data);
      return { count: (await client.messages.countTokens({ model, messages, system })).input_tokens };
    },
    async cancel(model, data) {
      let [text, pieces] = ["", 0];
      const stream = await ask(model, data, { stream: true });
      for await (const event of stream) {
        if (event.delta?.type === "text_delta") [text, pieces] = [text + event.delta.text, pieces + 1];
        if (pieces >= data.pieces) break;
      }
      stream.controller.abort();
      return { text, pieces };
    },
  };
}
