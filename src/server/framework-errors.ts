import { ConnectorError, invalidField } from '../errors/error.ts';

type Translated = { readonly error: ConnectorError; readonly status: number };

/**
 * An error of the HTTP framework as one of ours, with the status that HTTP has for it; `undefined` for any other error.
 *
 * Read by its code; its message may quote the request and is never shown.
 */
export function frameworkError(error: unknown): Translated | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return {
        error: new ConnectorError('payload_too_large', 'the body is over the limit of this operation'),
        status: 413,
      };
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return { error: unsupportedMedia(), status: 415 };
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return { error: invalidField('content-length', 'is the length of the body'), status: 400 };
    case 'FST_ERR_BAD_URL':
      return { error: invalidField('path', 'holds only valid percent-escapes of UTF-8'), status: 400 };
    case 'ECONNRESET':
    case 'ERR_STREAM_PREMATURE_CLOSE':
      return {
        error: new ConnectorError('cancelled', 'the caller ended the request', { cause: error }),
        status: 499,
      };
    default:
      return undefined;
  }
}

function unsupportedMedia(): ConnectorError {
  return new ConnectorError(
    'unsupported',
    'the content type of the body is not one that this operation reads',
    {
      details: { capability: 'content_type' },
    },
  );
}
