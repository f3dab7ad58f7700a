// What RFC 9213 and RFC 9111 ask for and release 0.4.5 of the suite does not test, in the suite's own
// form. Every one of these must pass.

const PAUSE = { setup: true, pause_after: true }

// Stores a response with these fields, and says whether it is used three seconds later.
function stored (id, cached, ...fields) {
  return {
    id,
    name: id,
    requests: [
      { response_headers: fields, ...PAUSE },
      { expected_type: cached ? 'cached' : 'not_cached' }
    ]
  }
}

const cdn = value => ['CDN-Cache-Control', value]
// Not compared with what arrives: it may be spelt differently there.
const uncompared = value => [...cdn(value), false]
const control = value => ['Cache-Control', value]
const expires = (seconds, compared = true) => ['Expires', seconds, compared]
const date = ['Date', 0]

// Values that are void (RFC 9213 2.1, 2.2): whatever Cache-Control says counts.
const VOID = {
  empty: '',
  comma: 'max-age=3600,',
  'leading-comma': ',max-age=3600',
  junk: 'max-age=3600, &&&',
  'junk-first': '%, max-age=3600',
  semicolon: 'max-age=3600; public;',
  'no-comma': 'max-age=3600 public',
  'mixed-case': 'MaX-aGe=3600',
  'mixed-case-other': 'max-age=3600, Foo',
  'space-before-equals': 'max-age =3600',
  'space-after-equals': 'max-age= 3600',
  'single-quoted': "max-age='3600'",
  'unclosed-string': 'max-age=3600, foo="bar',
  'unclosed-list': 'max-age=3600, foo=(1 2',
  'too-long': 'max-age=1000000000000000',
  'not-ascii': 'max-age=3600, foo="\u00fc"',
  string: 'max-age="3600"',
  decimal: 'max-age=3600.0',
  token: 'max-age=a3600',
  boolean: 'max-age=?1',
  bare: 'max-age',
  list: 'max-age=(3600)',
  bytes: 'max-age=:MzYwMA==:',
  date: 'max-age=@3600',
  'no-store-number': 'max-age=3600, no-store=0',
  'no-store-string': 'max-age=3600, no-store="a"',
  'private-token': 'max-age=3600, private=a'
}

const targeted = [
  stored('targeted-max-age', true, cdn('max-age=3600')),
  stored('targeted-max-age-max', true, cdn('max-age=2147483648')),
  stored('targeted-max-age-max-plus', true, cdn('max-age=99999999999')),
  stored('targeted-max-age-15-digits', true, cdn('max-age=999999999999999')),
  stored('targeted-max-age-leading-zero', true, cdn('max-age=003600')),
  stored('targeted-max-age-0', false, cdn('max-age=0')),
  stored('targeted-max-age-negative', false, cdn('max-age=-3600'), control('max-age=3600')),
  stored('targeted-max-age-age', false, date, cdn('max-age=3600'), ['Age', '7200']),
  stored('targeted-max-age-extension', true, cdn('foobar, max-age=3600')),
  stored('targeted-max-age-extensions', true,
    cdn('a=1, b=1.5, c="d", d=e, e=:Zm9v:, f=?0, g=(1 "b" c);h, *i=2;j=3, max-age=3600')),
  stored('targeted-max-age-parameter', true, cdn('max-age=3600;foo=bar')),
  stored('targeted-max-age-parameters', true, cdn('max-age=3600;no-store;private="a"')),
  stored('targeted-max-age-expires', true, cdn('max-age=3600'), expires(-10000), date),
  stored('targeted-max-age-expires-invalid', true, cdn('max-age=3600'), expires('0', false), date),
  stored('targeted-max-age-0-expires', false, cdn('max-age=0'), expires(10000), date),
  stored('targeted-none-expires', false, cdn('foo'), expires(10000), date),
  stored('targeted-none-cc-fresh', false, cdn('none'), control('max-age=3600')),
  stored('targeted-none-cc-no-store-lm', true,
    cdn('none'), control('no-store'), ['Last-Modified', -100000], date),
  stored('targeted-long-cc-short', true, cdn('max-age=3600'), control('max-age=1')),
  stored('targeted-short-cc-long', false, cdn('max-age=1'), control('max-age=3600')),
  stored('targeted-short-cc-s-maxage', false, cdn('max-age=1'), control('s-maxage=3600')),
  stored('targeted-fresh-cc-s-maxage-0', true, cdn('max-age=3600'), control('s-maxage=0')),
  stored('targeted-fresh-cc-no-store', true, cdn('max-age=3600'), control('no-store')),
  stored('targeted-fresh-cc-no-cache', true, cdn('max-age=3600'), control('no-cache')),
  stored('targeted-fresh-cc-private', true, cdn('max-age=3600'), control('private')),
  stored('targeted-no-store', false, cdn('no-store')),
  stored('targeted-no-store-cc-fresh', false,
    cdn('no-store'), control('max-age=3600'), expires(10000), date),
  stored('targeted-no-store-true', false, cdn('no-store=?1, max-age=3600')),
  stored('targeted-no-store-false', true, cdn('no-store=?0, max-age=3600')),
  stored('targeted-no-store-parameter', false, cdn('max-age=3600, no-store;foo=bar')),
  stored('targeted-private', false, cdn('private'), control('max-age=3600')),
  stored('targeted-private-fresh', false, cdn('private, max-age=3600')),
  stored('targeted-private-field', false, cdn('private="foo", max-age=3600')),
  stored('targeted-no-cache', false, cdn('no-cache'), control('max-age=3600')),
  stored('targeted-no-cache-fresh', false, cdn('max-age=3600, no-cache')),
  stored('targeted-s-maxage', true, cdn('s-maxage=3600, max-age=1')),
  stored('targeted-s-maxage-short', false, cdn('s-maxage=1, max-age=3600')),
  stored('targeted-last-wins-fresh', true, cdn('max-age=1, max-age=3600')),
  stored('targeted-last-wins-stale', false, cdn('max-age=3600, max-age=1')),
  stored('targeted-last-wins-type', false, cdn('max-age=3600, max-age="3600"')),
  stored('targeted-lines', true, cdn('foo'), cdn('max-age=3600')),
  stored('targeted-lines-no-store', false, cdn('max-age=3600'), cdn('no-store')),
  stored('targeted-lines-last-wins', false, cdn('max-age=3600'), cdn('max-age=1')),
  stored('targeted-lines-void', false, cdn('max-age=3600'), cdn('&'), control('no-store')),
  stored('targeted-tab', true, cdn('foo,\tmax-age=3600')),
  stored('targeted-other-target', false, ['Other-Cache-Control', 'max-age=3600']),
  stored('targeted-vary-star', false, cdn('max-age=3600'), ['Vary', '*']),
  ...Object.entries(VOID).flatMap(([id, value]) => [
    stored(`targeted-void-${id}`, false, uncompared(value)),
    stored(`targeted-void-${id}-cc-no-store`, false, uncompared(value), control('no-store')),
    stored(`targeted-void-${id}-cc-fresh`, true, uncompared(value), control('max-age=3600'))
  ]),
  {
    id: 'targeted-no-cache-revalidate',
    requests: [
      { response_headers: [cdn('no-cache'), control('max-age=3600'), ['ETag', '"a"']], setup: true },
      { expected_type: 'etag_validated', response_headers: [['ETag', '"a"']] }
    ]
  },
  {
    id: 'targeted-must-revalidate-stale',
    requests: [
      { response_headers: [cdn('max-age=2, must-revalidate'), ['ETag', '"a"']], ...PAUSE },
      { expected_type: 'etag_validated', response_headers: [['ETag', '"a"']] }
    ]
  },
  {
    id: 'targeted-stale-while-revalidate',
    requests: [
      { response_headers: [cdn('max-age=1, stale-while-revalidate=60')], ...PAUSE },
      { expected_type: 'cached' }
    ]
  },
  {
    id: 'targeted-stale-while-revalidate-cc',
    requests: [
      {
        response_headers: [cdn('max-age=1'), control('max-age=1, stale-while-revalidate=60')],
        ...PAUSE
      },
      { expected_type: 'not_cached' }
    ]
  },
  {
    id: 'targeted-304-update',
    requests: [
      { response_headers: [cdn('max-age=2'), ['ETag', '"a"']], ...PAUSE },
      {
        expected_type: 'etag_validated',
        response_headers: [cdn('max-age=3600'), ['ETag', '"a"']],
        ...PAUSE
      },
      { expected_type: 'cached', expected_response_headers: [cdn('max-age=3600')] }
    ]
  },
  {
    id: 'targeted-304-update-no-store',
    requests: [
      { response_headers: [cdn('max-age=2'), ['ETag', '"a"']], ...PAUSE },
      {
        expected_type: 'etag_validated',
        response_headers: [cdn('no-store'), ['ETag', '"a"']],
        setup: true
      },
      { expected_type: 'not_cached' }
    ]
  },
  {
    id: 'targeted-forwarded',
    requests: [
      { response_headers: [cdn('max-age=3600, foo;bar')], setup: true },
      { expected_type: 'cached', expected_response_headers: [cdn('max-age=3600, foo;bar')] }
    ]
  },
  ...['public', 'must-revalidate', 's-maxage=3600'].map(allowing => ({
    id: `targeted-authorization-${allowing}`,
    requests: [
      {
        request_headers: [['Authorization', 'FOO']],
        response_headers: [cdn(`max-age=3600, ${allowing}`)],
        ...PAUSE
      },
      { expected_type: 'cached' }
    ]
  })),
  {
    id: 'targeted-authorization-cc-public',
    requests: [
      {
        request_headers: [['Authorization', 'FOO']],
        response_headers: [cdn('max-age=3600'), control('public')],
        ...PAUSE
      },
      { expected_type: 'not_cached' }
    ]
  }
]

// What must not be used without the origin, where that closes the connection: RFC 9111 5.2.2.2 wants an
// error, and there is one answer to the request, however often the origin was asked.
function closed (id, status, ...fields) {
  return {
    id,
    requests: [
      { response_headers: fields, ...PAUSE },
      {
        disconnect: true,
        expected_status: status,
        check_body: false,
        expected_response_headers_missing: ['Server-Request-Count', 'Request-Numbers']
      }
    ]
  }
}

// The same where stale responses stand in.
function stale (id, failure, ...fields) {
  return {
    id,
    requests: [
      { response_headers: fields, ...PAUSE },
      { ...failure, expected_status: 200, expected_type: 'cached' }
    ]
  }
}

const validator = ['ETag', '"a"']
const CLOSES = { disconnect: true }
const FAILS = { response_status: [503, 'Service Unavailable'] }

const unreachable = [
  ...['must-revalidate', 'proxy-revalidate', 's-maxage=2', 'Must-Revalidate', 'must-revalidate="a"']
    .flatMap(forbidding => [
      closed(`closed-${forbidding}`, 504, control(`max-age=2, ${forbidding}`)),
      closed(`closed-${forbidding}-validator`, 504, control(`max-age=2, ${forbidding}`), validator),
      closed(`closed-${forbidding}-sie`, 504, control(`max-age=2, stale-if-error=60, ${forbidding}`)),
      closed(`closed-${forbidding}-swr`, 504,
        control(`max-age=2, stale-while-revalidate=60, ${forbidding}`))
    ]),
  ...['must-revalidate', 'proxy-revalidate', 's-maxage=2'].map(forbidding =>
    closed(`closed-${forbidding}-targeted`, 504, cdn(`max-age=2, ${forbidding}`))),
  closed('closed-lines', 504, control('max-age=2'), control('must-revalidate')),
  closed('closed-s-maxage-alone', 504, control('s-maxage=2')),
  closed('closed-no-cache-validator', 504, control('max-age=2, no-cache'), validator),
  closed('closed-no-cache', 502, control('max-age=2, no-cache')),
  closed('closed-no-store', 502, control('max-age=2, no-store')),
  closed('closed-private', 502, control('max-age=2, private')),
  stale('closed-no-cache-field', CLOSES, control('max-age=2, no-cache="foo"')),
  stale('closed-stale', CLOSES, control('max-age=2')),
  stale('closed-stale-validator', CLOSES, control('max-age=2'), validator),
  stale('closed-stale-if-error', CLOSES, control('max-age=2, stale-if-error=60')),
  stale('failed-stale', FAILS, control('max-age=2')),
  stale('failed-stale-if-error', FAILS, control('max-age=2, stale-if-error=60')),
  closed('closed-stale-if-error-past', 502, control('max-age=1, stale-if-error=1')),
  closed('closed-stale-if-error-0', 502, control('max-age=2, stale-if-error=0'))
]

export default [...targeted, ...unreachable].map(test => ({ name: test.id, kind: 'required', ...test }))
