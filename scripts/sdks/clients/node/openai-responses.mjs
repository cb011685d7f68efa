// The package `openai`, Responses.
import { refusal, sdk } from "./common.mjs";
const { default: OpenAI } = await sdk("openai");

const callsOf = (answer) => answer.output.filter((item) => item.type === "function_call");
const read = (calls) => calls.map((call) => [call.name, JSON.parse(call.arguments)]);

function outcome(...answers) {
  const usages = answers.map((answer) => ({ input: answer.usage.input_tokens, output: answer.usage.output_tokens }));
  return { text: answers.at(-1).output_text, finish: answers.at(-1).status, usages, ids: answers.map((answer) => answer.id) };
}

export function connect(url, key) {
  const client = new OpenAI({ baseURL: url + "/v1", apiKey: key, maxRetries: 0 });
  const options = (model, data, more) => ({
    model,
    input: data.user,
    max_output_tokens: data.max_output_tokens,
    ...(data.system && { instructions: data.system }),
    ...(data.tool && { tools: [{ type: "function", strict: false, ...data.tool }] }),
    ...more,
  });
  const ask = (model, data, more) => client.responses.create(options(model, data, more));
  async function streamed(model, data, more) {
    const stream = client.responses.stream(options(model, data, more));
    let pieces = 0;
    stream.on("response.output_text.delta", () => (pieces += 1));
    const answer = await stream.finalResponse();
    return Object.assign(answer, { pieces });
  }
  const talk = (data, answer) => [
    { role: "user", content: data.user },
    ...answer.output.map(({ parsed_arguments, status, ...item }) => item),
    ...callsOf(answer).map((call) => ({ type: "function_call_output", call_id: call.call_id, output: JSON.stringify(data.result) })),
  ];
  const round = (one) => async (model, data) => {
    const first = await one(model, data);
    const second = await one(model, data, { input: talk(data, first) });
    return { ...outcome(first, second), calls: read(callsOf(first)) };
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
      const image_url = `data:${data.image.mime};base64,${data.image.base64}`;
      const content = [{ type: "input_text", text: data.user }, { type: "input_image", detail: "auto", image_url }];
      return outcome(await ask(model, data, { input: [{ role: "user", content }] }));
    },
    async schema(model, data) {
      const format = { type: "json_schema", name: data.schema.name, strict: true, schema: data.schema.body };
      const answer = await ask(model, data, { text: { format } });
      return { ...outcome(answer), object: JSON.parse(answer.output_text) };
    },
    model_error: refused,
    parameter_error: refused,
    async cancel(model, data) {
      let [text, pieces] = ["", 0];
      const stream = await ask(model, data, { stream: true });
      for await (const event of stream) {
        if (event.type === "response.output_text.delta") [text, pieces] = [text + event.delta, pieces + 1];
        if (pieces >= data.pieces) break;
      }
      stream.controller.abort();
      return { text, pieces };
    },
  };
}
