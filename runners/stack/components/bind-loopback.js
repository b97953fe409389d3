// Loaded before a server with `node -r`: whatever address it asks to listen on, it listens on this machine's only. And a
// client that is killed within a request does not end it: kinesalite throws what its connection says.
'use strict'

const { Server } = require('net')

const here = process.env.THINGBEAM_LOOPBACK
const listen = Server.prototype.listen

Server.prototype.listen = function (first, ...rest) {
  if (first !== null && typeof first === 'object') {
    // A path is a socket in the file system, which nobody else reaches.
    return listen.call(this, first.path === undefined ? { ...first, host: here } : first, ...rest)
  }
  if (isNaN(first)) {
    return listen.call(this, first, ...rest)
  }
  const others = typeof rest[0] === 'string' ? rest.slice(1) : rest
  return listen.call(this, first, here, ...others)
}

process.on('uncaughtException', (error) => {
  if (error.code !== 'ECONNRESET') {
    console.error(error)
    process.exit(1)
  }
})
