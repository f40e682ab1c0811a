// What https://w3c.github.io/trusted-types/ adds to browsers and lib.dom does not have yet. What a policy makes is an
// object that `Worker` takes in place of a text.
interface Window {
  readonly trustedTypes?: {
    createPolicy(
      name: string,
      rules: { createScriptURL(url: string): string },
    ): {
      createScriptURL(url: string): string;
    };
  };
}
