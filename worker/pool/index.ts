export { ResultBuffers } from "./buffers.ts";
export {
  STREAMED_AT_ONCE,
  ThreadPool,
  type ThreadPoolListener,
  type ThreadPoolOptions,
  type UnitProgress,
} from "./thread-pool.ts";
