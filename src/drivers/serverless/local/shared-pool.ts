import type { OpenContext } from '../../../driver.ts';
import type { Runtime } from './deno.ts';
import { SandboxPool } from './pool.ts';

/** 45 MB each when idle; a machine of 4 GB holds them. */
const LIMITS = { processes: 32, processesOfTenant: 8, idleMs: 60_000, startMs: 10_000 } as const;

/** One pool for all connectors of this process, because the machine is one; it goes with the last of them. */
let shared: { readonly pool: SandboxPool; readonly tenants: Map<string, number> } | undefined;

/** The pool, until `leave` is called; with the tenant's last connector its spare process ends. */
export function enterPool(
  runtime: Runtime,
  maxResultBytes: number,
  { tenantFolder, clock }: OpenContext,
): { readonly pool: SandboxPool; readonly leave: () => void } {
  const entered = (shared ??= {
    pool: new SandboxPool(runtime, maxResultBytes, LIMITS, clock),
    tenants: new Map(),
  });
  const { pool, tenants } = entered;
  tenants.set(tenantFolder, (tenants.get(tenantFolder) ?? 0) + 1);
  let isInside = true;
  return {
    pool,
    leave() {
      if (!isInside) return;
      isInside = false;
      const others = (tenants.get(tenantFolder) ?? 1) - 1;
      if (others > 0) return void tenants.set(tenantFolder, others);
      tenants.delete(tenantFolder);
      pool.retire(({ tenant }) => tenant === tenantFolder);
      if (tenants.size === 0 && shared === entered) shared = undefined;
    },
  };
}
