/** What every program is called with: things that it must not get at. */
export type Targets = {
  /** A file of the host with a canary; beside it, with the endings `.mjs`, `.cjs` and `.json`, are others. */
  readonly secret: string;
  /** The function of another tenant. */
  readonly rival: string;
  /** A folder of the host that must stay empty. */
  readonly outside: string;
  /** Where the host listens, on every address. */
  readonly port: number;
  /** A name of the host that leads to an address of its own. */
  readonly host: string;
};

/**
 * A program, and the one outcome that is right: `completed` and its result as JSON, `failed` and the error as text, or
 * the code of the connector's error.
 */
export type Program = readonly [code: string, right: RegExp | string];
export type Programs = Readonly<Record<string, Program>>;

/** A module whose handler is `body`, which sees the {@link Targets}. */
export function does(body: string): string {
  return `// @ts-nocheck\nexport const handler = async ({ secret, rival, outside, port, host }) => { ${body} };\n`;
}

/** Programs that are to fail because the permission for what they do is missing. */
export function denied(bodies: Readonly<Record<string, string>>, right = /^failed NotCapable: /): Programs {
  return Object.fromEntries(Object.entries(bodies).map(([what, body]) => [what, [does(body), right]]));
}

/** Programs that answer what they may know, none of which is the host's. */
export function answering(
  bodies: Readonly<Record<string, readonly [body: string, result: unknown]>>,
): Programs {
  return Object.fromEntries(
    Object.entries(bodies).map(([what, [body, result]]) => [
      what,
      [does(body), `completed ${JSON.stringify(result)}`],
    ]),
  );
}
