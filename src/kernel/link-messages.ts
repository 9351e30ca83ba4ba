/** The rtnetlink messages of pod links: their fixed parts and attributes (rtnetlink(7), include/uapi/linux). */
import { familyOf, parseAddress } from "../lib/ip.ts";
import { CREATE_ONLY, CREATE_OR_REPLACE, attribute, attributesOf, message } from "./netlink.ts";
import type { Message } from "./netlink.ts";

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const RTM_NEWADDR = 20;
const RTM_NEWROUTE = 24;
const RTM_NEWNEIGH = 28;

const IFF_UP = 1;
const IF_OPER_UP = 6;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
/** Of a veth: the other end's index, in its own namespace. */
const IFLA_LINK = 5;
const IFLA_OPERSTATE = 16;
const IFLA_LINKINFO = 18;
const IFLA_NET_NS_FD = 28;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const VETH_INFO_PEER = 1;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_FLAGS = 8;
const IFA_F_NODAD = 0x02;
const IFA_F_PERMANENT = 0x80;

const NDA_DST = 1;
const NDA_LLADDR = 2;
const NUD_PERMANENT = 0x80;

const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PREFSRC = 7;
const RT_TABLE_MAIN = 254;
const RTPROT_BOOT = 3;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RTN_UNICAST = 1;

const AF_INET = 2;
const AF_INET6 = 10;
const LINK_BODY = 16;

export interface LinkEnd {
  readonly name: string;
  readonly mac: string;
  readonly mtu: number;
}

export interface LinkState {
  readonly name: string;
  readonly ifindex: number;
  readonly up: boolean;
  /** Of a veth the other end's index; 0: none. */
  readonly peerIfindex: number;
  /** Operational state (RFC 2863): before it is up the kernel drops what is sent on the device. */
  readonly sends: boolean;
}

export interface RouteOptions {
  readonly source?: string;
  readonly protocol?: number;
}

const macBytes = (mac: string): Uint8Array => Uint8Array.from(mac.split(":"), (octet) => Number.parseInt(octet, 16));

function ip(text: string): { readonly bytes: Uint8Array; readonly family: number; readonly bits: number } {
  const mapped = parseAddress(text);
  return familyOf(mapped) === 4 ? { bytes: mapped.subarray(12), family: AF_INET, bits: 32 } : { bytes: mapped, family: AF_INET6, bits: 128 };
}

/** struct ifinfomsg. */
function linkBody(ifindex = 0, flags = 0, change = 0): Uint8Array {
  const view = new DataView(new ArrayBuffer(LINK_BODY));
  view.setInt32(4, ifindex, true);
  view.setUint32(8, flags, true);
  view.setUint32(12, change, true);
  return new Uint8Array(view.buffer);
}

const endAttributes = ({ name, mac, mtu }: LinkEnd): Uint8Array[] => [attribute(IFLA_IFNAME, name), attribute(IFLA_ADDRESS, macBytes(mac)), attribute(IFLA_MTU, mtu)];

/** A pair, both ends down: `here` in this namespace, `there` in that of the open file `netns`. */
export function newVeth(here: LinkEnd, there: LinkEnd, netns: number): Message {
  const peer = new Uint8Array([...linkBody(), ...[...endAttributes(there), attribute(IFLA_NET_NS_FD, netns)].flatMap((each) => [...each])]);
  const info = [attribute(IFLA_INFO_KIND, "veth"), attribute(IFLA_INFO_DATA, [attribute(VETH_INFO_PEER, peer)])];
  return message(RTM_NEWLINK, CREATE_ONLY, linkBody(), [...endAttributes(here), attribute(IFLA_LINKINFO, info)]);
}

export const linkUp = (ifindex: number): Message => message(RTM_NEWLINK, 0, linkBody(ifindex, IFF_UP, IFF_UP), []);
export const deleteLink = (name: string): Message => message(RTM_DELLINK, 0, linkBody(), [attribute(IFLA_IFNAME, name)]);
export const getLink = (name: string): Message => message(RTM_GETLINK, 0, linkBody(), [attribute(IFLA_IFNAME, name)]);

export function parseLink(body: Uint8Array): LinkState {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const attributes = attributesOf(body.subarray(LINK_BODY));
  const peer = attributes.get(IFLA_LINK);
  return {
    name: Buffer.from(attributes.get(IFLA_IFNAME) ?? []).toString("utf8").replace(/\0+$/, ""),
    ifindex: view.getInt32(4, true),
    up: (view.getUint32(8, true) & IFF_UP) !== 0,
    sends: attributes.get(IFLA_OPERSTATE)?.[0] === IF_OPER_UP,
    peerIfindex: peer === undefined ? 0 : new DataView(peer.buffer, peer.byteOffset).getInt32(0, true),
  };
}

/** The address alone, no subnet; valid at once, without duplicate address detection (RFC 4862 section 5.4). */
export function address(ifindex: number, text: string): Message {
  const { bytes, family, bits } = ip(text);
  const view = new DataView(new ArrayBuffer(8)); // struct ifaddrmsg
  view.setUint8(0, family);
  view.setUint8(1, bits);
  view.setUint32(4, ifindex, true);
  const flags = IFA_F_PERMANENT | (family === AF_INET6 ? IFA_F_NODAD : 0);
  return message(RTM_NEWADDR, CREATE_ONLY, new Uint8Array(view.buffer), [attribute(IFA_LOCAL, bytes), attribute(IFA_ADDRESS, bytes), attribute(IFA_FLAGS, flags)]);
}

export function permanentNeighbour(ifindex: number, text: string, mac: string): Message {
  const { bytes, family } = ip(text);
  const view = new DataView(new ArrayBuffer(12)); // struct ndmsg
  view.setUint8(0, family);
  view.setInt32(4, ifindex, true);
  view.setUint16(8, NUD_PERMANENT, true);
  return message(RTM_NEWNEIGH, CREATE_OR_REPLACE, new Uint8Array(view.buffer), [attribute(NDA_DST, bytes), attribute(NDA_LLADDR, macBytes(mac))]);
}

/** struct rtmsg and its attributes. */
function route(family: number, bits: number, scope: number, protocol: number, attributes: readonly Uint8Array[]): Message {
  const body = Uint8Array.of(family, bits, 0, 0, RT_TABLE_MAIN, protocol, scope, RTN_UNICAST, 0, 0, 0, 0);
  return message(RTM_NEWROUTE, CREATE_OR_REPLACE, body, attributes);
}

const sourceAttribute = (source: string | undefined): Uint8Array[] => (source === undefined ? [] : [attribute(RTA_PREFSRC, ip(source).bytes)]);

/** To one address, which is on the link. */
export function hostRoute(ifindex: number, text: string, { source, protocol = RTPROT_BOOT }: RouteOptions = {}): Message {
  const { bytes, family, bits } = ip(text);
  const scope = family === AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  return route(family, bits, scope, protocol, [attribute(RTA_DST, bytes), attribute(RTA_OIF, ifindex), ...sourceAttribute(source)]);
}

export function defaultRoute(ifindex: number, gateway: string, { source, protocol = RTPROT_BOOT }: RouteOptions = {}): Message {
  const { bytes, family } = ip(gateway);
  return route(family, 0, RT_SCOPE_UNIVERSE, protocol, [attribute(RTA_GATEWAY, bytes), attribute(RTA_OIF, ifindex), ...sourceAttribute(source)]);
}
