// The AI SDK (package `ai`) with one of its providers: openai, openai-chat, anthropic, google or openai-compatible.
import { refusal, sdk } from "./common.mjs";
const ai = await sdk("ai");

async function provider(name, url, key) {
  const baseURL = url + "/v1";
  switch (name) {
    case "openai": {
      const { createOpenAI } = await sdk("@ai-sdk/openai");
      const made = createOpenAI({ baseURL, apiKey: key });
      return { model: (id) => made.responses(id), embedding: (id) => made.embeddingModel(id) };
    }
    case "openai-chat": {
      const { createOpenAI } = await sdk("@ai-sdk/openai");
      const made = createOpenAI({ baseURL, apiKey: key });
      return { model: (id) => made.chat(id), embedding: (id) => made.embeddingModel(id) };
    }
    case "anthropic": {
      const { createAnthropic } = await sdk("@ai-sdk/anthropic");
      return { model: createAnthropic({ baseURL, apiKey: key }) };
    }
    case "google": {
      const { createGoogleGenerativeAI } = await sdk("@ai-sdk/google");
      const made = createGoogleGenerativeAI({ baseURL: url + "/v1beta", apiKey: key });
      return { model: made, embedding: (id) => made.embeddingModel(id) };
    }
    default: {
      const { createOpenAICompatible } = await sdk("@ai-sdk/openai-compatible");
      const made = createOpenAICompatible({ name: "pixgate", baseURL, apiKey: key, supportsStructuredOutputs: true });
      return { model: (id) => made.chatModel(id), embedding: (id) => made.embeddingModel(id) };
    }
  }
}

const usageOf = (usage) => ({ input: usage.inputTokens, output: usage.outputTokens });
const read = (calls) => calls.map((call) => [call.toolName, call.input]);

export async function connect(url, key, name) {
  const { model: modelOf, embedding } = await provider(name, url, key);
  const options = (model, data, more) => ({
    model: modelOf(model),
    maxRetries: 0,
    maxOutputTokens: data.max_output_tokens,
    ...(data.system && { system: data.system }),
    ...(data.tool && { tools: { [data.tool.name]: declared(data.tool) } }),
    ...(more?.messages ? {} : { prompt: data.user }),
    ...more,
  });
  const declared = (tool) => ai.tool({ description: tool.description, inputSchema: ai.jsonSchema(tool.parameters) });
  const ask = (model, data, more) => ai.generateText(options(model, data, more));
  const outcome = (...answers) => {
    const last = answers.at(-1);
    // An answer without an id gets one of the SDK's own.
    const ids = answers.map((answer) => answer.response.id).map((id) => (id?.startsWith("aitxt-") ? null : id));
    return { text: last.text, finish: last.finishReason, usages: answers.map((answer) => usageOf(answer.usage)), ids };
  };
  // A finished stream in the form of a whole answer.
  async function streamed(model, data, more) {
    const failures = [];
    const stream = ai.streamText(options(model, data, { onError: ({ error }) => failures.push(error), ...more }));
    let pieces = 0;
    for await (const piece of stream.textStream) pieces += piece ? 1 : 0;
    if (failures.length) throw failures[0];
    const [text, finishReason, usage, toolCalls, response] = await Promise.all(
      ["text", "finishReason", "usage", "toolCalls", "response"].map((fact) => stream[fact]),
    );
    return { text, finishReason, usage, toolCalls, response, pieces };
  }
  const talk = (data, answer) => [
    { role: "user", content: data.user },
    ...answer.response.messages,
    {
      role: "tool",
      content: answer.toolCalls.map(({ toolCallId, toolName }) => ({
        type: "tool-result",
        toolCallId,
        toolName,
        output: { type: "json", value: data.result },
      })),
    },
  ];
  const round = (one) => async (model, data) => {
    const first = await one(model, data);
    const second = await one(model, data, { messages: talk(data, first) });
    return { ...outcome(first, second), calls: read(first.toolCalls) };
  };
  const plain = async (model, data) => outcome(await ask(model, data));
  const refused = async (model, data) => {
    try {
      return await plain(model, data);
    } catch (error) {
      return refusal(error, error.statusCode);
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
      const picture = { type: "image", image: data.image.base64, mediaType: data.image.mime };
      const content = [{ type: "text", text: data.user }, picture];
      return outcome(await ask(model, data, { messages: [{ role: "user", content }] }));
    },
    async schema(model, data) {
      const schema = ai.jsonSchema(data.schema.body);
      const output = ai.Output.object({ schema, name: data.schema.name });
      // Of models that it does not know by name this provider believes that they need a tool for it.
      const providerOptions = { anthropic: { structuredOutputMode: "outputFormat" } };
      const answer = await ask(model, data, { output, providerOptions });
      return { ...outcome(answer), object: answer.output };
    },
    model_error: refused,
    parameter_error: refused,
    async cancel(model, data) {
      let [text, pieces] = ["", 0];
      const gone = new AbortController();
      const stream = ai.streamText(options(model, data, { abortSignal: gone.signal, onError: () => {} }));
      for await (const piece of stream.textStream) {
        if (piece) [text, pieces] = [text + piece, pieces + 1];
        if (pieces >= data.pieces) break;
      }
      gone.abort();
      return { text, pieces };
    },
    async embeddings(model, data) {
      const answer = await ai.embedMany({ model: embedding(model), values: data.inputs, maxRetries: 0 });
      return { vectors: answer.embeddings };
    },
  };
}
