// Floor 4: whether memory asks caches about a request: the decision of iommu.md 8.2.

/** No Snoop of the request after translation: what the page or the PASID entry forces is taken away. */
export function noSnoopOut(noSnoop: bool, isForced: bool): bool {
  return noSnoop && !isForced;
}

/**
 * Caches are asked, but for No Snoop on a platform that honours it, and for pages whose memory type is not cacheable (SMMU).
 */
export function isCoherent(noSnoop: bool, isCacheable: bool, honours: bool): bool {
  return isCacheable && !(noSnoop && honours);
}
