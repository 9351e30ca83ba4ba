/** Rules on requests and names of DNS, as they are read once a proxy serves them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Validator, readCrds } from "../../../src/api/index.ts";
import { expressionProblem } from "../../../src/api/regular-expressions.ts";

const validator = new Validator(readCrds(), { proxy: true });
const refusing = new Validator();
const policy = (spec: object, kind = "CiliumNetworkPolicy"): unknown => ({ apiVersion: "cilium.io/v2", kind, metadata: { name: "p", namespace: "ns" }, spec });
const told = (spec: object, by = validator): string[] => by.policy(policy(spec)).map(({ path, message }) => `${path}: ${message}`);
const http = [{ port: "80", protocol: "TCP" }];
const ingress = (rules: object, ports: readonly object[] = http): string[] => told({ endpointSelector: {}, ingress: [{ toPorts: [{ ports, rules }] }] }).map((text) => text.replace("spec.ingress[0].toPorts[0].", ""));
const egress = (rules: object, ports: readonly object[] = [{ port: "53", protocol: "ANY" }]): string[] => told({ endpointSelector: {}, egress: [{ toPorts: [{ ports, rules }] }] }).map((text) => text.replace("spec.egress[0].toPorts[0].", ""));

test("rules on requests of every kind are read: http, gRPC through it, kafka, dns, another parser's; toFQDNs beside them", () => {
  assert.deepEqual(ingress({ http: [{ method: "GET|HEAD", path: "/v[0-9]+/.*", host: "api\\.example\\.com", headers: ["X-Token", "X-Kind: a"], headerMatches: [{ name: "X", value: "y", secret: { name: "s" }, mismatch: "REPLACE" }] }] }), []);
  assert.deepEqual(ingress({ http: [{ method: "POST", path: "/shop\\.Orders/(Get|List).*" }] }), []);
  assert.deepEqual(ingress({ kafka: [{ role: "produce", topic: "orders" }, { apiKey: "Fetch", apiVersion: "11", clientID: "c" }] }), []);
  assert.deepEqual(ingress({ l7proto: "memcache", l7: [{ command: "get" }] }), []);
  for (const protocol of ["ANY", "UDP", "TCP", undefined]) assert.deepEqual(egress({ dns: [{ matchName: "example.com." }, { matchPattern: "**.example.com" }, { matchPattern: "*" }] }, [{ port: "53", protocol }]), [], protocol);
  assert.deepEqual(told({ endpointSelector: {}, egress: [{ toFQDNs: [{ matchName: "example.com" }], toPorts: [{ ports: http, rules: { http: [{}] } }] }] }), []);
  assert.deepEqual(validator.policy(policy({ nodeSelector: {}, egress: [{ toPorts: [{ ports: [{ port: "53", protocol: "UDP" }], rules: { dns: [{ matchPattern: "*" }] } }] }] }, "CiliumClusterwideNetworkPolicy"), "CiliumClusterwideNetworkPolicy"), []);
});

test("what rules on requests cannot mean is told by its path", () => {
  assert.deepEqual(ingress({ http: [{}], kafka: [{}] }), ["rules: has one of http, kafka, dns and l7proto; write one list of ports for each"]);
  assert.deepEqual(ingress({}), ["rules: says nothing; write http, kafka, dns or l7proto"]);
  assert.deepEqual(ingress({ http: [] }), ["rules.http: must not be empty; leave it out to allow all"]);
  assert.deepEqual(ingress({ http: [{}, { path: "/(" }] }), ["rules.http[1].path: the expression has a ( that nothing closes"]);
  assert.deepEqual(ingress({ http: [{ paht: "/" }] }), ["rules.http[0].paht: unknown field; did you mean path?"]);
  assert.deepEqual(ingress({ http: [{ headers: [": x"], headerMatches: [{ name: "a b", mismatch: "DROP" }] }] }), ["rules.http[0].headerMatches[0].mismatch: must be one of LOG, ADD, DELETE, REPLACE"]);
  assert.deepEqual(ingress({ http: [{ headers: [": x"], headerMatches: [{ name: "a b" }] }] }), ['rules.http[0].headers[0]: "" is not the name of a header', 'rules.http[0].headerMatches[0].name: "a b" is not the name of a header']);
  assert.deepEqual(ingress({ kafka: [{ role: "produce", apiKey: "produce" }, { apiKey: "no" }] }), ["rules.kafka[0]: a rule has either role or apiKey", 'rules.kafka[1].apiKey: "no" is no request of Kafka']);
  assert.deepEqual(ingress({ l7: [{ a: "b" }] }), ["rules.l7: needs l7proto, the parser that these are for"]);
  assert.deepEqual(ingress({ l7proto: "p", l7: [{ "": "b" }] }), ["rules.l7[0]: has a key without a name"]);
  assert.deepEqual(egress({ dns: [{}, { matchName: "a", matchPattern: "b" }] }), ["rules.dns[0]: has either matchName or matchPattern", "rules.dns[1]: has either matchName or matchPattern"]);
  assert.match(egress({ dns: [{ matchName: "a..b" }] }).join(), /^rules\.dns\[0\]\.matchName: must match pattern/);
});

test("rules on requests are for TCP and for ports; those of DNS also for UDP and any, in egress alone, and in no denial", () => {
  for (const [port, message] of [[{ port: "80" }, "for TCP, not for ANY"], [{ port: "80", protocol: "ANY" }, "for TCP, not for ANY"], [{ port: "80", protocol: "UDP" }, "for TCP, not for UDP"]] as const) {
    assert.deepEqual(ingress({ http: [{}] }, [...http, port]), [`ports[1].protocol: rules on requests are ${message}`]);
  }
  assert.deepEqual(ingress({ http: [{}] }, [{ port: "0", protocol: "TCP" }]), ["ports[0].port: rules on requests need a port: 0 is every one"]);
  assert.deepEqual(ingress({ http: [{}] }, [{ port: "8000", endPort: 8100, protocol: "TCP" }]), []);
  assert.deepEqual(egress({ dns: [{ matchPattern: "*" }] }, [{ port: "53", endPort: 54, protocol: "SCTP" }]), ["ports[0].protocol: DNS is asked by UDP and TCP", "ports[0].endPort: DNS rules take no range of ports"]);
  assert.deepEqual(ingress({ dns: [{ matchPattern: "*" }] }), ["rules.dns: DNS is judged where it is asked: write the rule in egress"]);
  assert.match(told({ endpointSelector: {}, egressDeny: [{ toPorts: [{ ports: http, rules: { http: [{}] } }] }] }).join(), /^spec\.egressDeny\[0\]\.toPorts\[0\]\.rules: /);
  assert.match(told({ endpointSelector: {}, egressDeny: [{ toFQDNs: [{ matchName: "a" }] }] }).join(), /^spec\.egressDeny\[0\]\.toFQDNs: /);
  assert.deepEqual(told({ endpointSelector: {}, egress: [{ toFQDNs: [{ matchName: "a" }], toCIDR: ["192.0.2.0/24"] }] }), ["spec.egress[0]: an item has one kind of peers; write one item for each"]);
  const ofNodes = validator.policy(policy({ nodeSelector: {}, ingress: [{ toPorts: [{ ports: http, rules: { http: [{}] } }] }] }, "CiliumClusterwideNetworkPolicy"), "CiliumClusterwideNetworkPolicy");
  assert.deepEqual(ofNodes.map(({ path, message }) => `${path}: ${message}`), ["spec.ingress[0].toPorts[0].rules: nodes have no rules on requests but those of DNS"]);
});

test("without a proxy each of them is refused by its name, in spec and in specs, whatever it says", () => {
  const both = { ingress: [{ toPorts: [{ ports: http, rules: { http: [{ path: "(" }] } }] }], egress: [{ toFQDNs: [{ matchName: "a" }] }] };
  assert.deepEqual(told({ endpointSelector: {}, ...both }, refusing), ["spec.ingress[0].toPorts[0].rules: rules (L7) is not supported yet", "spec.egress[0].toFQDNs: toFQDNs is not supported yet"]);
  const several = refusing.policy({ apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata: { name: "p", namespace: "ns" }, specs: [{ endpointSelector: {}, ...both }] });
  assert.deepEqual(several.map(({ path }) => path), ["specs[0].ingress[0].toPorts[0].rules", "specs[0].egress[0].toFQDNs"]);
});

test("expressions are read as proxies read them, not as JavaScript does", () => {
  for (const fine of ["", "/api/.*", "[[:alpha:]_]+", "[^]a]", "[]a]", "[a-]", "a{2,3}?", "a{,3}", "x{", "(?i)get|(?:post)", "(?P<n>a)(?<m>b)", "\\Qa(b\\E", "\\p{Greek}\\pL\\x{10FFFF}\\x7f\\012", "\\-\\/", "^a$|", "(|a)", "a+?", "\\bword\\z"]) assert.equal(expressionProblem(fine), undefined, fine);
  const wrong = { "(": "nothing closes", ")": "nothing opened", "a)(": "nothing opened", "[a": "nothing closes", "[[:alfa:]]": "unknown class", "[z-a]": "range that ends", "*a": "repeats nothing", "a**": "repeats nothing", "(*)": "repeats nothing", "a|+": "repeats nothing", "a{3,2}": "repeats from 3 to 2", "a{1001}": "more than 1000", "(?=a)": "ahead or behind", "(?<!a)": "ahead or behind", "(a)\\1": "refers back", "a\\": "ends in a backslash", "\\y": "unknown escape", "(?#x)": "unknown kind of group" };
  for (const [text, message] of Object.entries(wrong)) assert.match(expressionProblem(text) ?? "nothing", new RegExp(message), text);
});
