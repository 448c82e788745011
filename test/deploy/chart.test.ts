import { Ajv } from 'ajv';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { settings } from '../../src/cli/settings.ts';
import { unknownSettings } from './settings.ts';

const chart = new URL('../../deploy/helm/connector-registry/', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, chart), 'utf8');
const values = parse(read('values.yaml')) as Values;
const templates = readdirSync(new URL('templates/', chart)).map((name) => ({
  name,
  text: read(`templates/${name}`),
}));

type Values = { readonly [name: string]: unknown };
type Tree = Readonly<Record<string, unknown>>;

type Spec = {
  readonly template: {
    readonly spec: {
      readonly containers: readonly Tree[];
      readonly terminationGracePeriodSeconds: number;
      readonly securityContext: object;
      readonly volumes: readonly { readonly name: string }[];
    };
  };
};

/** What Helm itself is not needed for: none was at hand where this was written. */
describe('the chart', () => {
  it('has values that pass their schema, and no others', () => {
    const check = new Ajv({ allErrors: true, allowUnionTypes: true }).compile(
      JSON.parse(read('values.schema.json')) as object,
    );
    check(values);
    expect(check.errors ?? []).toEqual([]);
    expect(check({ ...values, replicas: 2 })).toBe(false);
    expect(check({ ...values, settings: { PATH: '/bin' } })).toBe(false);
    expect(check({ ...values, data: { size: 'much' } })).toBe(false);
    expect(check({ ...values, settings: { CONNECTORS_LOG_LEVEL: 'warn' } })).toBe(true);
    for (const secret of Object.keys(settings.shape).filter((name) =>
      /_KEY$|_(DATABASE|REDIS)_URL$/.test(name),
    ))
      expect(check({ ...values, settings: { [secret]: 'in clear' } }), secret).toBe(false);
  });

  it('uses every value that there is, and none that there is not', () => {
    const used = new Set(
      templates.flatMap(({ text }) => [...text.matchAll(/\.Values\.([\w.]+)/g)].map(([, path = '']) => path)),
    );
    for (const path of used) expect(valueAt(path), path).toBeDefined();
    const isUsed = (path: string): boolean =>
      [...used].some((one) => one === path || path.startsWith(`${one}.`));
    expect(leaves(values).filter((path) => !isUsed(path))).toEqual([]);
  });

  it.each(templates)('$name closes what it opens', ({ text }) => {
    let depth = 0;
    for (const [, word] of text.matchAll(/\{\{-?\s*(if|with|range|define|end)\b/g)) {
      depth += word === 'end' ? -1 : 1;
      expect(depth).toBeGreaterThanOrEqual(0);
    }
    expect(depth).toBe(0);
  });

  it('makes what Kubernetes reads, with names that belong together', () => {
    const made = templates.filter(({ name }) => name.endsWith('.yaml')).map(({ text }) => rendered(text));
    expect(made.map(({ kind }) => String(kind)).toSorted()).toEqual([
      'Deployment',
      'HorizontalPodAutoscaler',
      'Ingress',
      'NetworkPolicy',
      'PodDisruptionBudget',
      'Service',
      'ServiceAccount',
    ]);
    const { spec } = made.find(({ kind }) => kind === 'Deployment') as { readonly spec: Spec };
    const pod = spec.template.spec;
    const [server] = pod.containers;
    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true });
    expect(pod).toMatchObject({ automountServiceAccountToken: false });
    // Three seconds until it is known, ten to stop.
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(13);
    expect(server?.['securityContext']).toMatchObject({
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
    });
    expect(server?.['readinessProbe']).toMatchObject({ httpGet: { path: '/readyz' } });
    expect(server?.['livenessProbe']).toMatchObject({ httpGet: { path: '/healthz' } });
    const mounts = (server?.['volumeMounts'] ?? []) as readonly { readonly name: string }[];
    expect(mounts.map(({ name }) => name)).toEqual(pod.volumes.map(({ name }) => name));
  });

  it('starts no server without the database and the master key, except on a data directory that is kept', () => {
    const { text } = templates.find(({ name }) => name === 'deployment.yaml') ?? { text: '' };
    const { spec } = rendered(text) as { readonly spec: Spec };
    const env = (spec.template.spec.containers[0]?.['env'] ?? []) as readonly Tree[];
    for (const name of ['CONNECTORS_DATABASE_URL', 'CONNECTORS_MASTER_KEY'])
      expect(env).toContainEqual({ name, valueFrom: { secretKeyRef: { name: 'value', key: name } } });
    const [, unlessKept = ''] =
      /\{\{- if not \.Values\.data\.existingClaim \}\}\n([^]*?)\{\{- end \}\}/.exec(text) ?? [];
    expect(unlessKept.match(/secretKeyRef:/g)).toHaveLength(text.match(/secretKeyRef:/g)?.length ?? 0);
  });

  it('offers no engines whose data would be lost with a pod, unless told', () => {
    const { text } = templates.find(({ name }) => name === 'deployment.yaml') ?? { text: '' };
    const { spec } = rendered(text) as { readonly spec: Spec };
    expect(spec.template.spec.containers[0]?.['env']).toContainEqual({
      name: 'CONNECTORS_EMBEDDED',
      value: 'false',
    });
    expect(spec.template.spec.volumes).toContainEqual({
      name: 'temporary',
      emptyDir: { sizeLimit: expect.stringMatching(/^\d+Mi$/) },
    });
  });

  it('names settings that there are', () => {
    const named = `${read('values.yaml')}${templates.map(({ text }) => text).join('')}`.match(
      /CONNECTORS_[A-Z_]+/g,
    );
    expect(unknownSettings(named ?? [])).toEqual([]);
  });
});

/** A template with every part that may be left out, none that stands in its place, and a word for whatever is put in. */
function rendered(text: string): Tree {
  const withoutElse = text.replaceAll(/^\s*\{\{-? else -?\}\}\n[^]*?(?=^\s*\{\{-? end\b)/gm, '');
  const plain = withoutElse
    .replaceAll(/^\s*\{\{-?[^}]*\}\}\s*\n/gm, '')
    .replaceAll(/\{\{-?[^}]*\}\}/g, 'value');
  const [document, ...others] = parseAllDocuments(plain);
  if (!document || others.length > 0) throw new Error('a template is one document');
  expect(document.errors).toEqual([]);
  return document.toJS() as Tree;
}

function valueAt(path: string): unknown {
  return path.split('.').reduce<unknown>((value, key) => (value as Values | undefined)?.[key], values);
}

function leaves(value: Values, prefix = ''): readonly string[] {
  return Object.entries(value).flatMap(([key, child]) => {
    const isInner = typeof child === 'object' && child !== null && !Array.isArray(child);
    return isInner && Object.keys(child).length > 0
      ? leaves(child as Values, `${prefix}${key}.`)
      : [prefix + key];
  });
}
