/** The walk of `npm start` with the library alone. In a project of your own, import from 'connector-registry'. */
import { readdir, readFile } from 'node:fs/promises';
import { ConnectorRegistry, FeatureHashing, indexedText, type Passage, passagesOf } from '../src/index.ts';

const docs = new URL('../docs/', import.meta.url);
await using registry = await ConnectorRegistry.open(); // in memory; with { dataDir: './data' } everything stays
const tenant = registry.forTenant('acme');

const files = await tenant.createFileConnector({ name: 'files' });
for (const name of (await readdir(docs)).filter((name) => name.endsWith('.md')))
  await files.writeFile(name, await readFile(new URL(name, docs)));

const passages: Passage[] = [];
for (const { path } of (await files.listFiles()).files)
  passages.push(...passagesOf(path, new TextDecoder().decode(await files.readFile(path))));
const hashing = new FeatureHashing(); // words to numbers without a model; your model's vectors work the same way
for (const passage of passages) hashing.learn(indexedText(passage));

const vectors = await tenant.createVectorConnector({ name: 'passages', vectorDimension: hashing.dimension });
const vectorOf = (text: string) => [...hashing.vector(text)];
for (const { id, text, heading } of passages)
  await vectors.upsertVectors([{ id, text, values: vectorOf(indexedText({ heading, text })) }]);
const [best] = await vectors.search(vectorOf('In which order do the policies wrap a call?'), { topK: 1 });
console.log(best?.id, best?.score, best?.text);

const functions = await tenant.createServerlessConnector({ name: 'functions' });
const code = 'export const handler = ({ text }) => ({ words: text.split(" ").length });';
await functions.deployFunction('count', { code });
console.log(await functions.invoke('count', { text: best?.text ?? '' }));
