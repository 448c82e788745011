import { describe, expect, it } from 'vitest';
import { isConnectorError } from '../../../driver.ts';
import { resources, type Resource } from './multistatus.ts';

const OPEN = '<?xml version="1.0"?><d:multistatus xmlns:d="DAV:">';
const file = (href: string, more = '') =>
  `<d:response><d:href>${href}</d:href><d:propstat><d:prop><d:resourcetype/><d:getcontentlength>5</d:getcontentlength>${more}</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>`;

async function read(document: string, pieceBytes = 1e9): Promise<Resource[]> {
  const whole = Buffer.from(document);
  const pieces = async function* () {
    for (let at = 0; at < whole.length; at += pieceBytes) yield whole.subarray(at, at + pieceBytes);
  };
  const found: Resource[] = [];
  for await (const resource of resources(pieces())) found.push(resource);
  return found;
}
const hrefs = async (document: string, pieceBytes?: number) =>
  (await read(document, pieceBytes)).map(({ href }) => href);

describe('a multistatus', () => {
  it('is read as RFC 4918 shows it, wherever the pieces of it are cut', async () => {
    const document = `<?xml version="1.0" encoding="utf-8" ?>\r\n<!-- a > b -->
      <D:multistatus xmlns:D='DAV:' xmlns:R="http://ns.example.com/boxschema/">
        <D:response>
          <D:href>http://www.example.com/container/</D:href>
          <D:propstat>
            <D:prop><R:getetag>"no"</R:getetag><D:getetag/><D:getcontentlength></D:getcontentlength></D:prop>
            <D:status>HTTP/1.1 404 Not Found</D:status>
          </D:propstat>
          <D:propstat>
            <D:prop xmlns:R="other"><R:resourcetype>x</R:resourcetype>
              <D:resourcetype><D:collection /></D:resourcetype>
              <getlastmodified xmlns="DAV:">Mon, 12 Jan 1998 09:25:56 GMT</getlastmodified>
            </D:prop>
            <D:status>HTTP/1.1 200 OK</D:status>
          </D:propstat>
        </D:response>
        <D:response><D:href><![CDATA[/a&b<é]]></D:href>
          <D:propstat><D:prop><D:getetag>&#34;zz&#x79;&quot;</D:getetag><D:getcontentlength> 4525 </D:getcontentlength>
          <D:resourcetype a="x>y"/></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>
          <D:propstat><D:prop><D:getcontentlength>1</D:getcontentlength></D:prop><D:status>HTTP/1.1 403 Forbidden</D:status></D:propstat></D:response>
        <D:response><D:href>/gone</D:href><D:status>HTTP/1.1 404 Not Found</D:status></D:response>
      </D:multistatus>\n`;
    const expected = [
      {
        href: 'http://www.example.com/container/',
        ...{ status: undefined, isCollection: true, sizeBytes: undefined, etag: undefined },
        lastModified: new Date('1998-01-12T09:25:56Z'),
      },
      {
        href: '/a&b<é',
        ...{ status: undefined, isCollection: false, sizeBytes: 4525, etag: 'zzy' },
        lastModified: new Date(0),
      },
      {
        href: '/gone',
        ...{ status: 404, isCollection: false, sizeBytes: undefined, etag: undefined },
        lastModified: new Date(0),
      },
    ];
    for (const pieceBytes of [1, 2, 3, 7, 64, 1e9])
      expect(await read(document, pieceBytes)).toEqual(expected);
  });

  it('tells no weak tag, which two contents may share', async () => {
    const [weak] = await read(`${OPEN}${file('/a', '<d:getetag>W/"1"</d:getetag>')}</d:multistatus>`);
    expect(weak).toMatchObject({ href: '/a', etag: undefined });
  });

  it('may be empty', async () => {
    expect(await hrefs('<multistatus xmlns="DAV:"/>')).toEqual([]);
    expect(await hrefs(`\ufeff${OPEN}</d:multistatus>`, 1)).toEqual([]);
  });

  const bad: Readonly<Record<string, string>> = {
    'cut off in a tag': `${OPEN}${file('/a')}<d:respo`,
    'cut off after a file': `${OPEN}${file('/a')}`,
    empty: '',
    HTML: '<!doctype html><title>Welcome</title><h1>It works!</h1>',
    JSON: '{"multistatus":[]}',
    'of another namespace': '<multistatus xmlns="urn:x"/>',
    'with a document type': `<!DOCTYPE d [<!ENTITY a "aaaa">]>${OPEN}${file('/&a;')}</d:multistatus>`,
    'with an entity of its own': `${OPEN}${file('/&a;')}</d:multistatus>`,
    'with a bare ampersand': `${OPEN}${file('/a&b')}</d:multistatus>`,
    'with a character that is none': `${OPEN}${file('/&#x110000;')}</d:multistatus>`,
    'with tags that cross': `${OPEN}<d:response><d:href></d:response></d:href></d:multistatus>`,
    'with two roots': `${OPEN}</d:multistatus>${OPEN}</d:multistatus>`,
    'with text after it': `${OPEN}</d:multistatus>x`,
    'nested without end': OPEN + '<d:a>'.repeat(100_000),
    'with a name without end': `${OPEN}<d:response><d:href>${'a'.repeat(200_000)}`,
    'with a tag without end': `${OPEN}<d:response ${'a '.repeat(100_000)}`,
  };
  for (const [what, document] of Object.entries(bad))
    it(`is backend_error where it is ${what}`, async () => {
      for (const pieceBytes of [4096, 1e9]) {
        const failure: unknown = await read(document, pieceBytes).catch((error: unknown) => error);
        expect(failure).toSatisfy(isConnectorError);
        expect(failure).toMatchObject({ code: 'backend_error' });
      }
    });

  it('is backend_error where it is not UTF-8', async () => {
    const latin = async function* () {
      yield Buffer.from(`${OPEN}${file('/é')}</d:multistatus>`, 'latin1');
    };
    const reading = resources(latin()).next();
    await expect(reading).rejects.toMatchObject({ code: 'backend_error' });
  });
});
