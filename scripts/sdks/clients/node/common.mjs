// What the adapters share.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// The SDKs are installed in the working directory, not beside this file.
const require = createRequire(process.cwd() + "/");
export const sdk = (name) => import(pathToFileURL(require.resolve(name)));

export function refusal(error, status) {
  const classes = [];
  for (let kind = Object.getPrototypeOf(error); kind; kind = Object.getPrototypeOf(kind)) classes.push(kind.constructor.name);
  // The AI SDK tells its errors apart by a name.
  if (error.name) classes.push(error.name);
  return { error: { classes, status: status ?? null, message: String(error).slice(0, 300) } };
}
