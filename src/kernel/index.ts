/**
 * kernel: the only folder with system calls, foreign functions and child processes for kernel state.
 *
 * It moves bytes and reports refusals (`KernelError`, stable codes). It must not know policies, pods or
 * Kubernetes, and decides nothing: what to write is the business of reconcile/ and targets/.
 */
export { LibbpfPort } from "./bpf.ts";
export { bpfFsStanding, mountBpfFs } from "./bpf-fs.ts";
export { CommandError, runCommand } from "./command.ts";
export type { CommandResult, Run } from "./command.ts";
export { Datapath } from "./datapath.ts";
export type { DatapathOptions, HookName } from "./datapath.ts";
export { ENCRYPTED_TABLE, EncryptedRoutes } from "./encrypted-routes.ts";
export type { EncryptedRoute } from "./encrypted-routes.ts";
export { EchoSockets, TOKEN_BYTES } from "./echo.ts";
export type { EchoPort, EchoReplies, EchoReply } from "./echo.ts";
export { KernelError } from "./errors.ts";
export { HOST_DEVICE, Host, TUNNEL_DEVICE } from "./host.ts";
export type { HostDevices, HostSpec, Neighbour, Route, Way } from "./host.ts";
export { Links, POD_DEVICE_PREFIX, ROUTE_PROTOCOL, UNREACHABLE_PROTOCOL } from "./links.ts";
export type { AddressedDevice, Device, DeviceAddress } from "./links.ts";
export { Netlink } from "./netlink.ts";
export { networkNamespaceProbe } from "./netns.ts";
export { PodVeths } from "./pod-link.ts";
export type { PodLinkSpec, VethSpec } from "./pod-link.ts";
export { LibbpfMap, perCpu } from "./map.ts";
export { countTcxPrograms, kernelOptions, probeBpf } from "./probe.ts";
export type { BpfNeed, BpfProbe, ObjectLoad } from "./probe.ts";
export { Nft, renderNft } from "./nft.ts";
export type { NftSpec } from "./nft.ts";
export { RingBufferReader } from "./ringbuf.ts";
export type { RingOptions } from "./ringbuf.ts";
export { watchLosses } from "./loss-watch.ts";
export type { Loss } from "./loss-watch.ts";
export { Sysctl, SysctlLedger } from "./sysctl.ts";
export { detachStubs, foreignFilters } from "./tc.ts";
export type { ForeignFilter } from "./tc.ts";
export { WIREGUARD_DEVICES, WireGuard, isWireGuardKey } from "./wireguard.ts";
export type { PeerState, WireGuardPeer, WireGuardState } from "./wireguard.ts";
export type * from "./port.ts";
