import { z } from 'zod';
import type { FunctionInfo } from '../../../driver.ts';

// `FunctionStatus` in https://github.com/openfaas/faas/blob/master/api-docs/spec.openapi.yml (read 2026-11-28). Go writes an
// empty list as null.
const described = z.object({
  name: z.string().min(1),
  image: z.string(),
  annotations: z.record(z.string(), z.string()).nullish(),
  limits: z.object({ memory: z.string().optional() }).nullish(),
  envVars: z.record(z.string(), z.string()).nullish(),
});
export const listing = z.array(described).nullable();

/**
 * What is told of one function; its image is its version. When it was changed is not told: `createdAt` is when it was deployed
 * first. `description` is an annotation that OpenFaaS gives no meaning to. `exec_timeout` is the watchdog's,
 * https://github.com/openfaas/of-watchdog#configuration (read 2026-11-28).
 */
export function infoOf({
  name,
  image,
  annotations,
  limits,
  envVars,
}: z.output<typeof described>): FunctionInfo {
  const memoryMb = megabytesOf(limits?.memory);
  const timeoutSeconds = secondsOf(envVars?.['exec_timeout']);
  const description = annotations?.['description'];
  return {
    name,
    ...(image !== '' && { version: image }),
    ...(memoryMb !== undefined && { memoryMb }),
    ...(timeoutSeconds !== undefined && { timeoutSeconds }),
    ...(description !== undefined && { description }),
  };
}

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  ...{ k: 1e3, M: 1e6, G: 1e9, T: 1e12 },
  ...{ Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40 },
};

/**
 * A quantity of Kubernetes, in whole megabytes of 2^20 bytes.
 *
 * https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#meaning-of-memory (read 2026-11-28)
 */
function megabytesOf(memory: string | undefined): number | undefined {
  const [, amount, unit = ''] = /^(\d+(?:\.\d+)?)([A-Za-z]{0,2})$/.exec(memory ?? '') ?? [];
  const factor = UNITS[unit];
  if (amount === undefined || factor === undefined) return undefined;
  return Math.round((Number(amount) * factor) / 2 ** 20);
}

const SECONDS: Readonly<Record<string, number>> = { h: 3600, m: 60, s: 1, ms: 0.001 };

/** A duration of Go, such as `1m30s`, or a number of seconds, as the watchdog takes both. */
function secondsOf(duration: string | undefined): number | undefined {
  if (duration === undefined || !/^(?:\d+|(?:\d+(?:\.\d+)?(?:h|ms|m|s))+)$/.test(duration)) return undefined;
  if (/^\d+$/.test(duration)) return Number(duration) || undefined;
  const parts = [...duration.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s)/g)];
  const seconds = parts.reduce(
    (sum, [, amount, unit = 's']) => sum + Number(amount) * (SECONDS[unit] ?? 0),
    0,
  );
  return seconds > 0 ? seconds : undefined;
}
