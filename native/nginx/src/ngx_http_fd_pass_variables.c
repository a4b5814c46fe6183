
/*
 * $fd_pass_handover, $fd_pass_upstream and $fd_pass_time, and where the facts behind them live: a redirect to a named location
 * clears the modules' contexts, the pool stays.
 */


#include "ngx_http_fd_pass_module.h"


static void ngx_http_fd_pass_ctx_mark(void *data);
static ngx_http_fd_pass_ctx_t *ngx_http_fd_pass_get_ctx(ngx_http_request_t *r);
static ngx_int_t ngx_http_fd_pass_handover_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_fd_pass_upstream_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_fd_pass_time_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_http_variable_t  ngx_http_fd_pass_variables[] = {

    { ngx_string("fd_pass_handover"), NULL,
      ngx_http_fd_pass_handover_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("fd_pass_upstream"), NULL,
      ngx_http_fd_pass_upstream_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("fd_pass_time"), NULL,
      ngx_http_fd_pass_time_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_fd_pass_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_fd_pass_variables; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


ngx_http_fd_pass_ctx_t *
ngx_http_fd_pass_create_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t      *cln;
    ngx_http_cleanup_t      *request_cln;
    ngx_http_fd_pass_ctx_t  *ctx;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_fd_pass_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_http_fd_pass_ctx_t));

    request_cln = ngx_http_cleanup_add(r, 0);
    if (request_cln == NULL) {
        return NULL;
    }

    request_cln->handler = ngx_http_fd_pass_cleanup;
    request_cln->data = ctx;

    cln->handler = ngx_http_fd_pass_ctx_mark;

    ctx->request = r;
    ctx->conf = ngx_http_get_module_loc_conf(r, ngx_http_fd_pass_module);
    ctx->start = ngx_current_msec;

    return ctx;
}


/* it has nothing to free: ngx_http_fd_pass_get_ctx() knows the context by it */

static void
ngx_http_fd_pass_ctx_mark(void *data)
{
    /* void */
}


/* of the fd_pass location that was entered last: by this request, as its subrequests share the pool */

static ngx_http_fd_pass_ctx_t *
ngx_http_fd_pass_get_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t      *cln;
    ngx_http_fd_pass_ctx_t  *ctx;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_fd_pass_ctx_mark) {
            ctx = cln->data;

            if (ctx->request == r) {
                return ctx;
            }
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_fd_pass_handover_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t               *name;
    ngx_http_fd_pass_ctx_t  *ctx;

    static ngx_str_t  names[] = {
        ngx_string("none"),
        ngx_string("full"),
        ngx_string("partial")
    };

    ctx = ngx_http_fd_pass_get_ctx(r);

    if (ctx == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    name = &names[ctx->handover];

    v->len = name->len;
    v->data = name->data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_fd_pass_upstream_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_fd_pass_ctx_t  *ctx;

    ctx = ngx_http_fd_pass_get_ctx(r);

    if (ctx == NULL || ctx->tried.len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->len = ctx->tried.len;
    v->data = ctx->tried.data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_fd_pass_time_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                  *p;
    ngx_http_fd_pass_ctx_t  *ctx;

    ctx = ngx_http_fd_pass_get_ctx(r);

    if (ctx == NULL || ctx->tried.len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, NGX_TIME_T_LEN + 4);
    if (p == NULL) {
        return NGX_ERROR;
    }

    v->len = ngx_sprintf(p, "%T.%03M", (time_t) ctx->elapsed / 1000,
                         ctx->elapsed % 1000)
             - p;
    v->data = p;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}
