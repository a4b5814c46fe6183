
/*
 * Which channels are open to which backend, and whose turn it is.  Locations with the same settings share them, workers do not.
 */


#include "ngx_http_fd_pass_module.h"


static ngx_http_fd_pass_backend_t *ngx_http_fd_pass_find_backend(
    ngx_http_fd_pass_ctx_t *ctx);
static ngx_http_fd_pass_backend_t *ngx_http_fd_pass_create_backend(
    ngx_http_fd_pass_ctx_t *ctx);


/* those that there is a channel to: with variables in "fd_pass" there may be any number over time */
static ngx_queue_t  ngx_http_fd_pass_backends;


void
ngx_http_fd_pass_init_backends(void)
{
    ngx_queue_init(&ngx_http_fd_pass_backends);
}


/*
 * Sends the message on the channel to the chosen peer whose turn it is.  NGX_OK: the handover goes on there, or was settled;
 * NGX_DECLINED: it needs a connection of its own, which may become a channel.
 */

ngx_int_t
ngx_http_fd_pass_use_channel(ngx_http_fd_pass_ctx_t *ctx)
{
    ngx_uint_t                   i;
    ngx_http_fd_pass_backend_t  *backend;
    ngx_http_fd_pass_channel_t  *ch;

    if (ngx_exiting) {
        return NGX_DECLINED;
    }

    backend = ngx_http_fd_pass_find_backend(ctx);

    if (backend == NULL) {
        return NGX_DECLINED;
    }

    for (i = 0; i < backend->size; i++) {

        ch = backend->slots[backend->turn];

        backend->turn = (backend->turn + 1) % backend->size;

        if (ch == NULL) {

            /* not open yet, or not any more */

            return NGX_DECLINED;
        }

        if (ngx_http_fd_pass_channel_send(ch, ctx) == NGX_OK) {
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


/* NGX_DECLINED: there are enough, or there is no memory */

ngx_int_t
ngx_http_fd_pass_add_channel(ngx_http_fd_pass_ctx_t *ctx,
    ngx_http_fd_pass_channel_t *ch)
{
    ngx_uint_t                   i;
    ngx_http_fd_pass_backend_t  *backend;

    backend = ngx_http_fd_pass_find_backend(ctx);

    if (backend == NULL) {
        backend = ngx_http_fd_pass_create_backend(ctx);
        if (backend == NULL) {
            return NGX_DECLINED;
        }
    }

    for (i = 0; i < backend->size; i++) {
        if (backend->slots[i] == NULL) {
            backend->slots[i] = ch;
            backend->channels++;
            ch->backend = backend;
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


/* another one may be opened in its place */

void
ngx_http_fd_pass_retire_channel(ngx_http_fd_pass_channel_t *ch)
{
    ngx_uint_t  i;

    ch->retired = 1;

    for (i = 0; i < ch->backend->size; i++) {
        if (ch->backend->slots[i] == ch) {
            ch->backend->slots[i] = NULL;
            return;
        }
    }
}


void
ngx_http_fd_pass_remove_channel(ngx_http_fd_pass_channel_t *ch)
{
    ngx_http_fd_pass_backend_t  *backend;

    ngx_http_fd_pass_retire_channel(ch);

    backend = ch->backend;

    if (--backend->channels == 0) {
        ngx_queue_remove(&backend->queue);
        ngx_free(backend);
    }
}


static ngx_http_fd_pass_backend_t *
ngx_http_fd_pass_find_backend(ngx_http_fd_pass_ctx_t *ctx)
{
    ngx_queue_t                  *q;
    ngx_peer_connection_t        *pc;
    ngx_http_fd_pass_backend_t   *backend;
    ngx_http_fd_pass_loc_conf_t  *conf;

    pc = &ctx->request->upstream->peer;
    conf = ctx->conf;

    for (q = ngx_queue_head(&ngx_http_fd_pass_backends);
         q != ngx_queue_sentinel(&ngx_http_fd_pass_backends);
         q = ngx_queue_next(q))
    {
        backend = ngx_queue_data(q, ngx_http_fd_pass_backend_t, queue);

        if (backend->size == conf->keepalive
            && backend->max_handovers == conf->keepalive_handovers
            && backend->idle_timeout == conf->keepalive_timeout
            && backend->send_timeout == conf->send_timeout
            && ngx_cmp_sockaddr(&backend->sockaddr.sockaddr, backend->socklen,
                                pc->sockaddr, pc->socklen, 0)
               == NGX_OK)
        {
            return backend;
        }
    }

    return NULL;
}


static ngx_http_fd_pass_backend_t *
ngx_http_fd_pass_create_backend(ngx_http_fd_pass_ctx_t *ctx)
{
    size_t                        size;
    ngx_peer_connection_t        *pc;
    ngx_http_fd_pass_backend_t   *backend;
    ngx_http_fd_pass_loc_conf_t  *conf;

    pc = &ctx->request->upstream->peer;
    conf = ctx->conf;

    if (pc->socklen > (socklen_t) sizeof(ngx_sockaddr_t)) {
        return NULL;
    }

    size = offsetof(ngx_http_fd_pass_backend_t, slots)
           + conf->keepalive * sizeof(ngx_http_fd_pass_channel_t *);

    backend = ngx_calloc(size, ngx_cycle->log);
    if (backend == NULL) {
        return NULL;
    }

    ngx_memcpy(&backend->sockaddr, pc->sockaddr, pc->socklen);
    backend->socklen = pc->socklen;
    backend->send_timeout = conf->send_timeout;
    backend->idle_timeout = conf->keepalive_timeout;
    backend->max_handovers = conf->keepalive_handovers;
    backend->size = conf->keepalive;

    /* the first slot is for the one that is added now */
    backend->turn = 1 % backend->size;

    ngx_queue_insert_head(&ngx_http_fd_pass_backends, &backend->queue);

    return backend;
}
