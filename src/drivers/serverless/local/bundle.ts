import { createHash } from 'node:crypto';
import { constants, statSync } from 'node:fs';
import { open, realpath } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { dirname, extname, isAbsolute, relative, resolve, sep } from 'node:path';
import type { BuildFailure, Loader, Plugin } from 'esbuild';
import { ConnectorError, loadPeer } from '../../../driver.ts';

export const ESBUILD_RANGE = '^0.28.0';
const MAX_SOURCE_BYTES = 32 * 2 ** 20;

/** A file that a bundle was made of, as it was then; without a size, that it was not there. */
export type Input = { readonly path: string; readonly size: string; readonly mtimeNs: string };
export type Bundle = { readonly code: string; readonly hash: string; readonly inputs: readonly Input[] };

/** One function's files: `entry` imports nothing outside `within`, which is a folder or the entry itself. */
export type FunctionFiles = { readonly entry: string; readonly within: string };

/** A source that does not build, with the files that were read, so that a change of them is a reason to try again. */
export class BuildError extends ConnectorError {
  readonly inputs: readonly Input[];

  constructor(message: string, inputs: readonly Input[], cause: unknown) {
    super('invalid_argument', message, { cause, issues: [{ path: 'source', message }] });
    this.inputs = inputs;
  }
}

const LOADERS: Readonly<Record<string, Loader>> = {
  '.ts': 'ts',
  '.mts': 'ts',
  '.cts': 'ts',
  '.tsx': 'tsx',
  '.js': 'js',
  '.mjs': 'js',
  '.cjs': 'js',
  '.jsx': 'jsx',
  '.json': 'json',
  '.txt': 'text',
  '.md': 'text',
};

/** The bundler. @throws ConnectorError `unavailable` naming the install command. */
export function esbuild(): Promise<typeof import('esbuild')> {
  return loadPeer('esbuild', ESBUILD_RANGE, () => import('esbuild'));
}

/**
 * The function and all that it imports as one module.
 *
 * @throws BuildError with the compiler's message; ConnectorError `unavailable` when esbuild is not installed.
 */
export async function bundle({ entry, within }: FunctionFiles): Promise<Bundle> {
  const { build } = await esbuild();
  const inputs: Input[] = [];
  const built = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'esnext',
    keepNames: true,
    legalComments: 'none',
    logLevel: 'silent',
    absWorkingDir: dirname(entry),
    // esbuild would look for tsconfig.json in the folders above, and for the maps that a source names.
    tsconfigRaw: '{}',
    sourcemap: false,
    plugins: [confinedTo(within, inputs)],
  }).catch((error: unknown) => {
    throw new BuildError(compilerMessage(error), inputs, error);
  });
  const text = built.outputFiles[0]?.text ?? '';
  // CommonJS packages call require for Node's own modules; a module has none unless it makes one.
  const code = text.includes('__require(') ? `${REQUIRE}${text}` : text;
  return { code, hash: createHash('sha256').update(code).digest('hex'), inputs };
}

const REQUIRE =
  'import { createRequire as createRequire_ } from "node:module";\nconst require = createRequire_("/");\n';

/** Lets esbuild see nothing but what lies within the function's files, after every link was followed. */
function confinedTo(within: string, inputs: Input[]): Plugin {
  let bytes = 0;
  return {
    name: 'confined',
    setup(build) {
      build.onResolve({ filter: /.*/ }, async ({ path, kind, pluginData, ...rest }) => {
        if (pluginData === confinedTo) return undefined;
        if (kind === 'entry-point') return { path };
        if (isBuiltin(path)) return { path: `node:${path.replace(/^node:/, '')}`, external: true };
        // One message for what is missing and what lies outside: otherwise it would tell which files this host has.
        const refused = { errors: [{ text: `"${path}" is not within the function's folder` }] };
        if (/^\.|^\//.test(path) && !isWithin(within, resolve(rest.resolveDir, path))) return refused;
        const found = await build.resolve(path, { ...rest, kind, pluginData: confinedTo });
        if (found.errors.length > 0 || found.external || found.namespace !== 'file') return refused;
        const real = await realpath(found.path).catch(() => undefined);
        if (real === undefined || !isWithin(within, real)) return refused;
        return { path: real, sideEffects: found.sideEffects };
      });
      build.onLoad({ filter: /.*/ }, async ({ path, namespace }) => {
        // Checked here too: the files of a pattern such as `../${name}.ts` come without having been resolved above.
        const loader = LOADERS[extname(path)];
        if (namespace !== 'file' || loader === undefined || !isWithin(within, await realpath(path))) {
          return { errors: [{ text: `this ${extname(path) || 'nameless'} file cannot be bundled` }] };
        }
        const { contents, input } = await readSource(path);
        bytes += contents.length;
        inputs.push(input);
        if (bytes > MAX_SOURCE_BYTES)
          return { errors: [{ text: `sources are at most ${MAX_SOURCE_BYTES} bytes` }] };
        return { contents, loader, resolveDir: dirname(path) };
      });
    },
  };
}

/** Reads through one handle, so that what was measured is what was read; never a link, a pipe or a device. */
async function readSource(path: string): Promise<{ readonly contents: Buffer; readonly input: Input }> {
  await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const stat = await file.stat({ bigint: true });
  if (!stat.isFile() || stat.size > MAX_SOURCE_BYTES) {
    throw new ConnectorError('invalid_argument', `a source is a file of at most ${MAX_SOURCE_BYTES} bytes`);
  }
  const input = { path, size: String(stat.size), mtimeNs: String(stat.mtimeNs) };
  return { contents: await file.readFile(), input };
}

/** True for the path itself and all below it. Both are absolute. */
export function isWithin(within: string, path: string): boolean {
  const way = relative(within, path);
  return way === '' || (way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way));
}

/** A file as it is now. Synchronous, because it is on the path of every call: 3 µs a file instead of 50. */
export function inputOf(path: string): Input {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return { path, size: stat ? String(stat.size) : '', mtimeNs: stat ? String(stat.mtimeNs) : '' };
}

function compilerMessage(error: unknown): string {
  const { errors = [] } = error as Partial<BuildFailure>;
  const lines = errors.slice(0, 3).map(({ text, location }) => {
    return location ? `${location.file}:${location.line}:${location.column}: ${text}` : text;
  });
  const message = lines.length > 0 ? lines.join('; ') : String(error);
  return `the function does not build: ${message}`.slice(0, 1000);
}
