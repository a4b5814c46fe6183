
/*
 * The argument of fd_pass: a UNIX socket or an upstream of UNIX sockets, named in the configuration or by variables.
 */


#include "ngx_http_fd_pass_module.h"


static ngx_str_t *ngx_http_fd_pass_foreign_server(
    ngx_http_upstream_srv_conf_t *uscf);
static ngx_http_upstream_srv_conf_t *ngx_http_fd_pass_find_upstream(
    ngx_http_request_t *r, ngx_str_t *name);
static ngx_int_t ngx_http_fd_pass_init_path(ngx_http_request_t *r,
    ngx_str_t *path);


/* nothing of it concerns a handover */
static ngx_http_upstream_conf_t  ngx_http_fd_pass_upstream_conf;


#define ngx_http_fd_pass_is_path(s)                                           \
    ((s)->len > sizeof("unix:/") - 1                                          \
     && ngx_strncmp((s)->data, "unix:/", sizeof("unix:/") - 1) == 0)


char *
ngx_http_fd_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fd_pass_loc_conf_t  *flcf = conf;

    ngx_url_t                          u;
    ngx_str_t                         *value;
    ngx_http_core_loc_conf_t          *clcf;
    ngx_http_fd_pass_target_t         *target;
    ngx_http_fd_pass_main_conf_t      *fmcf;
    ngx_http_compile_complex_value_t   ccv;

    if (flcf->upstream || flcf->target) {
        return "is duplicate";
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_fd_pass_handler;

    if (clcf->name.len && clcf->name.data[clcf->name.len - 1] == '/') {
        clcf->auto_redirect = 1;
    }

    value = cf->args->elts;

    if (ngx_http_script_variables_count(&value[1])) {

        flcf->target = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
        if (flcf->target == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

        ccv.cf = cf;
        ccv.value = &value[1];
        ccv.complex_value = flcf->target;

        if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = value[1];
    u.no_resolve = 1;

    if (!ngx_http_fd_pass_is_path(&value[1])
        && (value[1].len == 0
            || ngx_strlchr(value[1].data, value[1].data + value[1].len, ':')
            || ngx_strlchr(value[1].data, value[1].data + value[1].len, '/')))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is neither \"unix:\" with an absolute path "
                           "nor the name of an upstream", &value[1]);
        return NGX_CONF_ERROR;
    }

    flcf->upstream = ngx_http_upstream_add(cf, &u, 0);
    if (flcf->upstream == NULL) {
        return NGX_CONF_ERROR;
    }

    fmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_fd_pass_module);

    target = ngx_array_push(&fmcf->targets);
    if (target == NULL) {
        return NGX_CONF_ERROR;
    }

    target->upstream = flcf->upstream;
    target->file = cf->conf_file->file.name.data;
    target->line = cf->conf_file->line;

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_fd_pass_check_targets(ngx_conf_t *cf)
{
    ngx_str_t                     *foreign;
    ngx_uint_t                     i;
    ngx_http_fd_pass_target_t     *target;
    ngx_http_fd_pass_main_conf_t  *fmcf;

    fmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_fd_pass_module);
    target = fmcf->targets.elts;

    for (i = 0; i < fmcf->targets.nelts; i++) {

        foreign = ngx_http_fd_pass_foreign_server(target[i].upstream);

        if (foreign) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"fd_pass\" needs UNIX sockets, and upstream \"%V\" "
                          "has \"%V\" in %s:%ui",
                          &target[i].upstream->host, foreign, target[i].file,
                          target[i].line);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* the first server that descriptors cannot be passed to, if there is one */

static ngx_str_t *
ngx_http_fd_pass_foreign_server(ngx_http_upstream_srv_conf_t *uscf)
{
    ngx_uint_t                   i, n;
    ngx_http_upstream_server_t  *server;

    if (uscf->servers == NULL) {
        return NULL;
    }

    server = uscf->servers->elts;

    for (i = 0; i < uscf->servers->nelts; i++) {

        if (server[i].naddrs == 0) {
            return &server[i].name;
        }

        for (n = 0; n < server[i].naddrs; n++) {
            if (server[i].addrs[n].sockaddr->sa_family != AF_UNIX) {
                return &server[i].name;
            }
        }
    }

    return NULL;
}


/* makes r->upstream->peer ready to choose the first backend */

ngx_int_t
ngx_http_fd_pass_init_peer(ngx_http_fd_pass_ctx_t *ctx)
{
    ngx_str_t                      target, *foreign;
    ngx_http_request_t            *r;
    ngx_http_upstream_t           *u;
    ngx_http_upstream_srv_conf_t  *uscf;

    r = ctx->request;

    if (ngx_http_upstream_create(r) != NGX_OK) {
        return NGX_ERROR;
    }

    u = r->upstream;
    ngx_str_set(&u->schema, "fd_pass://");

    /* variables such as $upstream_cache_last_modified look into it */
    u->conf = &ngx_http_fd_pass_upstream_conf;

    uscf = ctx->conf->upstream;

    if (uscf == NULL) {

        if (ngx_http_complex_value(r, ctx->conf->target, &target) != NGX_OK) {
            return NGX_ERROR;
        }

        if (ngx_http_fd_pass_is_path(&target)) {

            if (ngx_http_fd_pass_init_path(r, &target) != NGX_OK) {
                return NGX_ERROR;
            }

            goto ready;
        }

        uscf = ngx_http_fd_pass_find_upstream(r, &target);

        if (uscf == NULL) {
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                          "\"fd_pass\" evaluated to \"%V\", neither \"unix:\" "
                          "with an absolute path nor a known upstream",
                          &target);
            return NGX_ERROR;
        }

        foreign = ngx_http_fd_pass_foreign_server(uscf);

        if (foreign) {
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                          "\"fd_pass\" needs UNIX sockets, and upstream \"%V\" "
                          "has \"%V\"", &uscf->host, foreign);
            return NGX_ERROR;
        }
    }

    u->upstream = uscf;

    if (uscf->peer.init(r, uscf) != NGX_OK) {
        return NGX_ERROR;
    }

ready:

    if (ctx->conf->next_tries && u->peer.tries > ctx->conf->next_tries) {
        u->peer.tries = ctx->conf->next_tries;
    }

    return NGX_OK;
}


static ngx_http_upstream_srv_conf_t *
ngx_http_fd_pass_find_upstream(ngx_http_request_t *r, ngx_str_t *name)
{
    ngx_uint_t                       i;
    ngx_http_upstream_srv_conf_t   **uscfp;
    ngx_http_upstream_main_conf_t   *umcf;

    umcf = ngx_http_get_module_main_conf(r, ngx_http_upstream_module);
    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (uscfp[i]->host.len == name->len
            && (uscfp[i]->flags & NGX_HTTP_UPSTREAM_CREATE)
            && ngx_strncasecmp(uscfp[i]->host.data, name->data, name->len) == 0)
        {
            return uscfp[i];
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_fd_pass_init_path(ngx_http_request_t *r, ngx_str_t *path)
{
    ngx_url_t                         u;
    ngx_http_upstream_resolved_t     *resolved;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = *path;
    u.no_resolve = 1;

    if (ngx_parse_url(r->pool, &u) != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "\"fd_pass\" evaluated to \"%V\": %s", path,
                      u.err ? u.err : "no memory");
        return NGX_ERROR;
    }

    resolved = ngx_pcalloc(r->pool, sizeof(ngx_http_upstream_resolved_t));
    if (resolved == NULL) {
        return NGX_ERROR;
    }

    resolved->sockaddr = u.addrs[0].sockaddr;
    resolved->socklen = u.addrs[0].socklen;
    resolved->name = u.addrs[0].name;
    resolved->naddrs = 1;
    resolved->host = u.host;

    r->upstream->resolved = resolved;

    return ngx_http_upstream_create_round_robin_peer(r, resolved);
}
