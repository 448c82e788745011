/** What a connector reaches. Three types have built-in drivers; the others are for connectors that an application registers. */
export const ConnectorType = {
  http: 'http',
  sql: 'sql',
  mcp: 'mcp',
  vector: 'vector',
  file: 'file',
  serverless: 'serverless',
  stream: 'stream',
  custom: 'custom',
} as const;
export type ConnectorType = (typeof ConnectorType)[keyof typeof ConnectorType];

export const ConnectorStatus = {
  registered: 'registered',
  configuring: 'configuring',
  ready: 'ready',
  connected: 'connected',
  disconnected: 'disconnected',
  error: 'error',
  deprecated: 'deprecated',
} as const;
export type ConnectorStatus = (typeof ConnectorStatus)[keyof typeof ConnectorStatus];

export const ConnectorCapability = {
  read: 'read',
  write: 'write',
  query: 'query',
  stream: 'stream',
  batch: 'batch',
  transaction: 'transaction',
  search: 'search',
  vector_search: 'vector_search',
} as const;
export type ConnectorCapability = (typeof ConnectorCapability)[keyof typeof ConnectorCapability];
