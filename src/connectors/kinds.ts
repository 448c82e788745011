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
/** One of {@link ConnectorType}. */
export type ConnectorType = (typeof ConnectorType)[keyof typeof ConnectorType];

/** Where a connector stands; `checkStatusMove` says which may follow which. */
export const ConnectorStatus = {
  registered: 'registered',
  configuring: 'configuring',
  ready: 'ready',
  connected: 'connected',
  disconnected: 'disconnected',
  error: 'error',
  deprecated: 'deprecated',
} as const;
/** One of {@link ConnectorStatus}. */
export type ConnectorStatus = (typeof ConnectorStatus)[keyof typeof ConnectorStatus];

/** What a connector can be used for, in the coarse terms that a list can be filtered by. */
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
/** One of {@link ConnectorCapability}. */
export type ConnectorCapability = (typeof ConnectorCapability)[keyof typeof ConnectorCapability];
