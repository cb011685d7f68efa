// The package `@google/genai`, generateContent.
import { refusal, sdk } from "./common.mjs";
const { GoogleGenAI } = await sdk("@google/genai");

const usageOf = ({ usageMetadata: usage }) => ({ input: usage.promptTokenCount, output: (usage.candidatesTokenCount ?? 0) + (usage.thoughtsTokenCount ?? 0) });
const partsOf = (answer) => answer.candidates?.[0]?.content?.parts ?? [];
const textOf = (parts) => parts.map((part) => part.text ?? "").join("");
const callsOf = (parts) => parts.filter((part) => part.functionCall).map((part) => part.functionCall);

function outcome(...answers) {
  const last = answers.at(-1);
  const ids = answers.map((answer) => answer.responseId);
  return { text: textOf(partsOf(last)), finish: last.candidates[0].finishReason, usages: answers.map(usageOf), ids };
}

export function connect(url, key) {
  const client = new GoogleGenAI({ apiKey: key, vertexai: false, httpOptions: { baseUrl: url, timeout: 60_000 } });
  function options(model, data, contents, config) {
    const { system, tool } = data;
    const declared = tool && { name: tool.name, description: tool.description, parametersJsonSchema: tool.parameters };
    return {
      model,
      contents: contents ?? data.user,
      config: {
        maxOutputTokens: data.max_output_tokens,
        ...(system && { systemInstruction: system }),
        ...(tool && { tools: [{ functionDeclarations: [declared] }] }),
        ...config,
      },
    };
  }
  const ask = (model, data, contents, config) => client.models.generateContent(options(model, data, contents, config));
  async function streamed(model, data, contents) {
    const result = { parts: [], pieces: 0, finish: null, usage: null, ids: [] };
    for await (const chunk of await client.models.generateContentStream(options(model, data, contents))) {
      if (!result.ids.includes(chunk.responseId)) result.ids.push(chunk.responseId);
      if (chunk.usageMetadata?.candidatesTokenCount) result.usage = usageOf(chunk);
      result.pieces += textOf(partsOf(chunk)) ? 1 : 0;
      result.parts.push(...partsOf(chunk));
      result.finish = chunk.candidates?.[0]?.finishReason ?? result.finish;
    }
    return result;
  }
  const seen = (result) => ({ text: textOf(result.parts), pieces: result.pieces, finish: result.finish, usages: [result.usage], ids: result.ids });
  const talk = (data, parts) => [
    { role: "user", parts: [{ text: data.user }] },
    { role: "model", parts: parts.filter((part) => part.functionCall || part.text) },
    { role: "user", parts: callsOf(parts).map(({ id, name }) => ({ functionResponse: { id, name, response: data.result } })) },
  ];
  const read = (parts) => callsOf(parts).map((call) => [call.name, call.args]);
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
    stream: async (model, data) => seen(await streamed(model, data)),
    async tools(model, data) {
      const first = await ask(model, data);
      const second = await ask(model, data, talk(data, partsOf(first)));
      return { ...outcome(first, second), calls: read(partsOf(first)) };
    },
    async parallel(model, data) {
      const first = await streamed(model, data);
      const second = await streamed(model, data, talk(data, first.parts));
      return { ...seen(second), calls: read(first.parts), usages: [first.usage, second.usage], ids: [...first.ids, ...second.ids] };
    },
    async image(model, data) {
      const picture = { inlineData: { data: data.image.base64, mimeType: data.image.mime } };
      return outcome(await ask(model, data, [{ role: "user", parts: [{ text: data.user }, picture] }]));
    },
    async schema(model, data) {
      const answer = await ask(model, data, undefined, { responseMimeType: "application/json", responseJsonSchema: data.schema.body });
      return { ...outcome(answer), object: JSON.parse(answer.text) };
    },
    model_error: refused,
    parameter_error: refused,
    async cancel(model, data) {
      let [text, pieces] = ["", 0];
      const gone = new AbortController();
      try {
        const asked = options(model, data, undefined, { abortSignal: gone.signal });
        for await (const chunk of await client.models.generateContentStream(asked)) {
          const piece = textOf(partsOf(chunk));
          if (piece) [text, pieces] = [text + piece, pieces + 1];
          if (pieces >= data.pieces) gone.abort();
        }
      } catch (error) {
        if (!gone.signal.aborted) throw error;
      }
      return { text, pieces };
    },
    async models() {
      const models = [];
      for await (const model of await client.models.list()) models.push(model.name.replace(/^models\//, ""));
      return { models };
    },
    async count(model, data) {
      return { count: (await client.models.countTokens({ model, contents: data.user })).totalTokens };
    },
    async embeddings(model, data) {
      const answer = await client.models.embedContent({ model, contents: data.inputs });
      return { vectors: answer.embeddings.map((item) => item.values) };
    },
  };
}
