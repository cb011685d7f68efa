// The package `openai`, Chat Completions.
import { refusal, sdk } from "./common.mjs";
const { default: OpenAI } = await sdk("openai");

const messages = (data) => [...(data.system ? [{ role: "system", content: data.system }] : []), { role: "user", content: data.user }];
const usageOf = (answer) => ({ input: answer.usage.prompt_tokens, output: answer.usage.completion_tokens });
const read = (calls) => calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]);

function outcome(...answers) {
  const last = answers.at(-1).choices[0];
  return { text: last.message.content, finish: last.finish_reason, usages: answers.map(usageOf), ids: answers.map((answer) => answer.id) };
}

export function connect(url, key) {
  const client = new OpenAI({ baseURL: url + "/v1", apiKey: key, maxRetries: 0 });
  const options = (model, data, more) => ({
    model,
    messages: messages(data),
    max_completion_tokens: data.max_output_tokens,
    ...(data.tool && { tools: [{ type: "function", function: data.tool }] }),
    ...more,
  });
  const ask = (model, data, more) => client.chat.completions.create(options(model, data, more));
  const streamed = (model, data, more) =>
    client.chat.completions.stream(options(model, data, { stream_options: { include_usage: true }, ...more })).finalChatCompletion();
  const talk = (data, answer) => [
    ...messages(data),
    answer.choices[0].message,
    ...answer.choices[0].message.tool_calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: JSON.stringify(data.result) })),
  ];
  const round = (one) => async (model, data) => {
    const first = await one(model, data);
    const second = await one(model, data, { messages: talk(data, first) });
    return { ...outcome(first, second), calls: read(first.choices[0].message.tool_calls) };
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
      const result = { text: "", pieces: 0, finish: null, usages: [], ids: [] };
      for await (const chunk of await ask(model, data, { stream: true, stream_options: { include_usage: true } })) {
        if (!result.ids.includes(chunk.id)) result.ids.push(chunk.id);
        if (chunk.usage) result.usages = [usageOf(chunk)];
        for (const choice of chunk.choices) {
          result.pieces += choice.delta.content ? 1 : 0;
          result.text += choice.delta.content ?? "";
          result.finish = choice.finish_reason ?? result.finish;
        }
      }
      return result;
    },
    tools: round(ask),
    parallel: round(streamed),
    async image(model, data) {
      const url = `data:${data.image.mime};base64,${data.image.base64}`;
      const content = [{ type: "text", text: data.user }, { type: "image_url", image_url: { url } }];
      return outcome(await ask(model, data, { messages: [{ role: "user", content }] }));
    },
    async schema(model, data) {
      const format = { type: "json_schema", json_schema: { name: data.schema.name, strict: true, schema: data.schema.body } };
      const answer = await ask(model, data, { response_format: format });
      return { ...outcome(answer), object: JSON.parse(answer.choices[0].message.content) };
    },
    model_error: refused,
    parameter_error: refused,
    async cancel(model, data) {
      let [text, pieces] = ["", 0];
      const stream = await ask(model, data, { stream: true });
      for await (const chunk of stream) {
        const piece = chunk.choices[0]?.delta?.content;
        if (piece) [text, pieces] = [text + piece, pieces + 1];
        if (pieces >= data.pieces) break;
      }
      stream.controller.abort();
      return { text, pieces };
    },
    async models() {
      const models = [];
      for await (const model of client.models.list()) models.push(model.id);
      return { models };
    },
    async embeddings(model, data) {
      const answer = await client.embeddings.create({ model, input: data.inputs });
      return { vectors: answer.data.map((item) => item.embedding), usages: [{ input: answer.usage.prompt_tokens, output: 0 }] };
    },
  };
}
