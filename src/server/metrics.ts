import type { RegistryGauges } from '../registry/opening.ts';

/** https://prometheus.io/docs/instrumenting/exposition_formats/, read 2026-11-28 */
export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** The gauges in the text format of Prometheus. */
export function metricsText(gauges: RegistryGauges): string {
  const rows: readonly (readonly [name: string, help: string, value: number | boolean])[] = [
    [
      'limits_degraded',
      "1 while rate limits are this server's share, because the counts that servers share do not answer.",
      gauges.limitsDegraded,
    ],
    ['servers', 'Servers on the same store, this one included.', gauges.servers],
    ['open_clients', 'Clients of connectors that are open in this process.', gauges.openClients],
    [
      'store_current',
      '0 while this server does not know what others changed, because the store does not answer.',
      gauges.storeCurrent,
    ],
  ];
  return rows
    .map(([name, help, value]) => {
      const full = `connector_registry_${name}`;
      return `# HELP ${full} ${help}\n# TYPE ${full} gauge\n${full} ${Number(value)}\n`;
    })
    .join('');
}
