/**
 * Writes etc/<entry>.api.md, the public API of each entry point, so that a change of it is seen in a diff.
 *
 * With `--check` it writes nothing and fails where a report is out of date. Either way it fails where an export has no
 * docstring. Reads the declarations in `dist`.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Extractor, ExtractorConfig, ExtractorLogLevel } from '@microsoft/api-extractor';

const ENTRIES = ['index', 'driver', 'testing', 'server'] as const;
const root = fileURLToPath(new URL('..', import.meta.url));
const check = process.argv.includes('--check');
const complaints: string[] = [];

mkdirSync(join(root, 'etc'), { recursive: true });
for (const entry of ENTRIES) complaints.push(...report(entry));
for (const complaint of complaints) console.error(complaint);
process.exit(complaints.length === 0 ? 0 : 1);

function report(entry: string): readonly string[] {
  const declarations = join(
    root,
    'dist',
    entry === 'index' || entry === 'driver' ? `${entry}.d.ts` : `${entry}/index.d.ts`,
  );
  const name = `${entry}.api.md`;
  const config = ExtractorConfig.prepare({
    packageJsonFullPath: join(root, 'package.json'),
    configObjectFullPath: undefined,
    configObject: {
      projectFolder: root,
      newlineKind: 'lf',
      mainEntryPointFilePath: declarations,
      compiler: {
        // Its own TypeScript is 6, which reads what 7 wrote; the project's tsconfig is not for it.
        overrideTsconfig: {
          compilerOptions: {
            target: 'es2024',
            lib: ['es2024', 'esnext.disposable'],
            module: 'nodenext',
            strict: true,
            types: ['node'],
            skipLibCheck: true,
          },
          files: [declarations],
        },
      },
      apiReport: {
        enabled: true,
        reportFileName: name,
        reportFolder: join(root, 'etc'),
        reportTempFolder: join(root, '.tmp', 'api'),
      },
      docModel: { enabled: false },
      dtsRollup: { enabled: false },
      tsdocMetadata: { enabled: false },
      messages: {
        extractorMessageReporting: {
          default: { logLevel: ExtractorLogLevel.None },
          // In the report, where the next lines look for it.
          'ae-undocumented': { logLevel: ExtractorLogLevel.None },
        },
        tsdocMessageReporting: { default: { logLevel: ExtractorLogLevel.None } },
      },
    },
  });
  const { apiReportChanged } = Extractor.invoke(config, {
    localBuild: !check,
    messageCallback: (message) => {
      message.handled = message.logLevel !== ExtractorLogLevel.Error;
    },
  });
  const text = readFileSync(join(root, '.tmp', 'api', name), 'utf8');
  const bare = [...text.matchAll(/^\/\/ @public \(undocumented\)\n(?<line>export .*)$/gm)];
  return [
    ...bare.map(({ groups }) => `${entry}: an export has no docstring: ${groups?.['line'] ?? ''}`),
    ...(check && apiReportChanged ? [`etc/${name} is out of date; run npm run api`] : []),
  ];
}
