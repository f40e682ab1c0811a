// Reads Markdown beside the page, which ends this worker when a text takes too long.

import { lexer } from "marked";

self.addEventListener("message", (message: MessageEvent<string>) => {
  try {
    self.postMessage([...lexer(message.data)]);
  } catch {
    self.postMessage(null); // nested too deeply
  }
});
