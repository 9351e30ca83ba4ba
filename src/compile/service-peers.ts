/**
 * Services that policies name. One that selects pods means them, by their labels: an address that a pod leaves to
 * another leaves nothing with it. One that selects none is where its endpoints say. Pure.
 */
import type { ServiceReference } from "../api/meaning.ts";
import type { Problem } from "../api/problem.ts";
import type { Referents } from "../model/snapshot.ts";
import { selectsObject } from "./object-selector.ts";

export interface ServicePeer {
  readonly labels: Readonly<Record<string, string>>;
  /** Of the labels of its pods, never empty; undefined: it selects none. */
  readonly selector: Readonly<Record<string, string>> | undefined;
  /** Of the endpoints of one that selects no pods; canonical text. */
  readonly addresses: readonly string[];
}

/** By namespace, then by name. */
export type ServicePeers = ReadonlyMap<string, ReadonlyMap<string, ServicePeer>>;

type Backends = Pick<Referents, "pods" | "endpoints">;

interface Found {
  readonly namespace: string;
  readonly name: string;
  readonly service: ServicePeer;
}

/** @param own the policy's namespace: an absent one is that, or of a policy of the whole cluster ("") any. */
export function backends(references: readonly ServiceReference[], path: string, own: string, all: ServicePeers, unresolved: Problem[]): Backends {
  const found = new Map<string, Found>();
  for (const [at, reference] of references.entries()) {
    const meant = servicesOf(reference, own, all);
    if (meant.length === 0) unresolved.push({ path: `${path}[${at}]`, message: `${reference.k8sService === undefined ? "no Service has these labels" : `there is no Service ${reference.k8sService.serviceName}`}: it means nobody` });
    for (const one of meant) {
      found.set(`${one.namespace}/${one.name}`, one);
      if (one.service.selector === undefined && one.service.addresses.length === 0) unresolved.push({ path: `${path}[${at}]`, message: `Service ${one.namespace}/${one.name} selects no pods and has no endpoints: it means nobody` });
    }
  }
  const services = [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one);
  return {
    pods: services.flatMap(({ namespace, service: { selector } }) => (selector === undefined ? [] : [{ namespace, labels: selector }])),
    endpoints: [...new Set(services.flatMap(({ service: { selector, addresses } }) => (selector === undefined ? addresses : [])))].sort(),
  };
}

function servicesOf(reference: ServiceReference, own: string, all: ServicePeers): readonly Found[] {
  const wanted = namespaceOf(reference, own);
  const namespaces = wanted === undefined ? [...all] : [[wanted, all.get(wanted) ?? new Map<string, ServicePeer>()] as const];
  return namespaces.flatMap(([namespace, services]) => [...services].flatMap(([name, service]) => (names(reference, name, service) ? [{ namespace, name, service }] : [])));
}

function namespaceOf({ k8sService, k8sServiceSelector }: ServiceReference, own: string): string | undefined {
  const said = k8sService?.namespace ?? k8sServiceSelector?.namespace ?? "";
  return [said, own].find((name) => name !== "");
}

function names({ k8sService, k8sServiceSelector }: ServiceReference, name: string, { labels }: ServicePeer): boolean {
  return k8sService?.serviceName === name || (k8sServiceSelector !== undefined && selectsObject(k8sServiceSelector.selector, labels));
}

/** Whether a change of this service may change what the reference means. Of a selector its labels, before and after, are not looked at. */
export function mayMean(reference: ServiceReference, own: string, namespace: string, name: string): boolean {
  return [undefined, namespace].includes(namespaceOf(reference, own)) && (reference.k8sService === undefined || reference.k8sService.serviceName === name);
}
